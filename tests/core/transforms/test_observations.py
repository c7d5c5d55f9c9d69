"""What uncertain and unmentioned labels mean, and what metrics may not see."""

from __future__ import annotations

import pytest
import torch

from doll_monai.findings import FINDINGS, IGNORE, finding_index
from doll_monai.transforms.observations import ObservationTargets, ObservationTargetsd, ZeroIgnoredd, check_observations
from doll_monai.utils.errors import InputError

EDEMA, FRACTURE = finding_index("Edema"), finding_index("Fracture")


def _raw(value: float | None) -> list[float | None]:
    return [value] * len(FINDINGS)


@pytest.mark.parametrize(("policy", "target"), [("ignore", -1.0), ("zeros", 0.0), ("ones", 1.0)])
def test_policy_decides_uncertain_and_unmentioned_labels(policy: str, target: float) -> None:
    assert torch.equal(ObservationTargets(uncertain=policy)(_raw(-1.0)), torch.full((14,), target))
    assert torch.equal(ObservationTargets(unmentioned=policy)(_raw(None)), torch.full((14,), target))
    assert torch.equal(ObservationTargets(negative=policy)(_raw(0.0)), torch.full((14,), target))


@pytest.mark.parametrize("policy", ["ignore", "zeros", "ones", "smoothed"])
def test_certain_labels_stay_whatever_the_policy(policy: str) -> None:
    targets = ObservationTargets(uncertain=policy, unmentioned=policy)
    assert torch.equal(targets([1.0, 0.0] * 7), torch.tensor([1.0, 0.0] * 7))


def test_by_default_uncertain_is_ignored_and_unmentioned_negative() -> None:
    raw: list[float | None] = [1.0, 0.0, -1.0, None, *[0.0] * 10]
    expected = torch.tensor([1.0, 0.0, -1.0, 0.0, *[0.0] * 10])
    target = ObservationTargets()(raw)
    assert torch.equal(target, expected)
    assert target.dtype == torch.float32


def test_policy_by_observation_has_a_default_for_the_rest() -> None:
    target = ObservationTargets(uncertain={"Edema": "ones", "fracture": "zeros", "default": "ignore"})(_raw(-1.0))
    expected = torch.full((14,), -1.0)
    expected[EDEMA], expected[FRACTURE] = 1.0, 0.0
    assert torch.equal(target, expected)


def test_mapping_without_default_leaves_the_rest_ignored() -> None:
    target = ObservationTargets(unmentioned={"Edema": "zeros"})(_raw(None))
    assert float(target[EDEMA]) == 0.0
    assert bool((target[torch.arange(14) != EDEMA] == -1).all())


def test_smoothed_targets_are_drawn_anew_from_their_range() -> None:
    targets = ObservationTargets(uncertain="smoothed", smoothed_range=(0.55, 0.85))
    targets.set_random_state(3)
    drawn = torch.stack([targets(_raw(-1.0)) for _ in range(200)])
    assert 0.55 <= float(drawn.min()) < 0.56
    assert 0.84 < float(drawn.max()) <= 0.85
    assert len(drawn.unique()) > 2700


def test_same_seed_draws_the_same_targets() -> None:
    twins = [ObservationTargetsd("label", uncertain="smoothed").set_random_state(seed) for seed in (5, 5, 6)]
    drawn = [twin({"label": _raw(-1.0)})["label"] for twin in twins]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_dictionary_twin_leaves_its_input_alone() -> None:
    data = {"label": _raw(None), "image": "image.png"}
    result = ObservationTargetsd("label")(data)
    assert data["label"] == _raw(None)
    assert result["image"] == "image.png"
    assert torch.equal(result["label"], torch.zeros(14))


def test_unknown_policies_observations_and_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="A policy must be one of"):
        ObservationTargets(uncertain="maybe")
    with pytest.raises(KeyError, match="none of the 14 observations"):
        ObservationTargets(uncertain={"Broken Heart": "ones"})
    with pytest.raises(InputError, match="needs 14 labels of observations, not 13"):
        ObservationTargets()([0.0] * 13)


def test_ignored_pixels_are_zero_in_prediction_and_label() -> None:
    label = torch.tensor([[[1, 0, IGNORE, IGNORE]]], dtype=torch.uint8)
    data = {"pred": torch.tensor([[[1.0, 1.0, 1.0, 0.0]]]), "label": label}
    result = ZeroIgnoredd("pred")(data)
    assert torch.equal(result["pred"], torch.tensor([[[1.0, 1.0, 0.0, 0.0]]]))
    assert torch.equal(result["label"], torch.tensor([[[1, 0, 0, 0]]], dtype=torch.uint8))
    assert int(data["label"].max()) == IGNORE


def test_a_training_needs_an_observation_that_is_there_and_absent() -> None:
    present, absent, uncertain = ({"image": "a.png", "label": _raw(value)} for value in (1.0, 0.0, -1.0))
    assert check_observations([present, absent]) == [present, absent]
    assert check_observations([present, uncertain], uncertain="zeros") == [present, uncertain]
    for records in ([uncertain, uncertain], [present, uncertain], [absent, absent]):
        with pytest.raises(InputError, match="None of the 14 observations is known"):
            check_observations(records)


def test_a_image_without_labels_is_named() -> None:
    with pytest.raises(InputError, match=r"The labels of a\.png: A record needs 14 labels of observations, not 13"):
        ObservationTargetsd("label")({"image": "a.png", "label": _raw(0.0)[:13]})
    with pytest.raises(InputError, match=r"not 'label\.png'"):
        ObservationTargetsd("label")({"image": "a.png", "label": "label.png"})
