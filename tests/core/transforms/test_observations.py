"""What uncertain and unmentioned labels mean, and what metrics may not see."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from doll_monai.findings import FINDINGS, IGNORE, finding_index
from doll_monai.transforms.observations import ObservationTargetsd, ZeroIgnoredd, check_observations
from doll_monai.utils.errors import InputError

EDEMA, FRACTURE = finding_index("Edema"), finding_index("Fracture")


def _raw(value: float | None) -> list[float | None]:
    return [value] * len(FINDINGS)


def _targets(label: list[float | None], **policies: Any) -> torch.Tensor:
    return ObservationTargetsd("label", **policies)({"label": label})["label"]


@pytest.mark.parametrize(("policy", "target"), [("ignore", -1.0), ("zeros", 0.0), ("ones", 1.0)])
def test_policy_decides_uncertain_and_unmentioned_labels(policy: str, target: float) -> None:
    for name, value in {"uncertain": -1.0, "unmentioned": None, "negative": 0.0}.items():
        assert torch.equal(_targets(_raw(value), **{name: policy}), torch.full((14,), target))


@pytest.mark.parametrize("policy", ["ignore", "zeros", "ones", "smoothed"])
def test_certain_labels_stay_whatever_the_policy(policy: str) -> None:
    certain: list[float | None] = [1.0, 0.0] * 7
    assert torch.equal(_targets(certain, uncertain=policy, unmentioned=policy), torch.tensor(certain))


def test_by_default_uncertain_is_ignored_and_unmentioned_negative() -> None:
    data = {"label": [1.0, 0.0, -1.0, None, *[0.0] * 10], "image": "image.png"}
    result = ObservationTargetsd("label")(data)
    assert result["label"].dtype == torch.float32
    assert torch.equal(result["label"], torch.tensor([1.0, 0.0, -1.0, 0.0, *[0.0] * 10]))
    assert result["image"] == "image.png"
    assert data["label"][3] is None


def test_policy_by_observation_has_a_default_for_the_rest() -> None:
    target = _targets(_raw(-1.0), uncertain={"Edema": "ones", "fracture": "zeros", "default": "ignore"})
    expected = torch.full((14,), -1.0)
    expected[EDEMA], expected[FRACTURE] = 1.0, 0.0
    assert torch.equal(target, expected)
    target = _targets(_raw(None), unmentioned={"Edema": "zeros"})
    assert target.nonzero().flatten().tolist() == [channel for channel in range(14) if channel != EDEMA]


def test_smoothed_targets_are_drawn_anew_from_their_range() -> None:
    targets = ObservationTargetsd("label", uncertain="smoothed", smoothed_range=(0.55, 0.85))
    targets.set_random_state(3)
    drawn = torch.stack([targets({"label": _raw(-1.0)})["label"] for _ in range(200)])
    assert 0.55 <= float(drawn.min()) < 0.56
    assert 0.84 < float(drawn.max()) <= 0.85
    assert len(drawn.unique()) > 2700
    again = ObservationTargetsd("label", uncertain="smoothed").set_random_state(3)
    assert torch.equal(again({"label": _raw(-1.0)})["label"], drawn[0])


def test_unknown_policies_observations_and_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="A policy must be one of"):
        ObservationTargetsd(uncertain="maybe")
    with pytest.raises(KeyError, match="none of the 14 observations"):
        ObservationTargetsd(uncertain={"Broken Heart": "ones"})
    with pytest.raises(InputError, match=r"The image a\.png needs 14 labels of observations, not 13"):
        ObservationTargetsd("label")({"image": "a.png", "label": _raw(0.0)[:13]})
    with pytest.raises(InputError, match=r"not 'label\.png'"):
        ObservationTargetsd("label")({"image": "a.png", "label": "label.png"})
    with pytest.raises(InputError, match=r"The image a\.png needs 14 labels of observations, not None"):
        check_observations([{"image": "a.png"}])


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
