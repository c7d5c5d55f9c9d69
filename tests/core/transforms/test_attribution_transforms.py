"""From attribution to label: exact numbers of pixels, and what each kind of target becomes."""

from __future__ import annotations

import pytest
import torch

from doll_monai.findings import BACKGROUND, FOREGROUND, IGNORE, finding_index
from doll_monai.transforms.attribution import (
    AttributionMagnituded,
    AttributionToLabeld,
    MultiplyByInputd,
    NormalizeAttributiond,
)
from doll_monai.utils.errors import InputError

EDEMA, FRACTURE, NO_FINDING = finding_index("Edema"), finding_index("Fracture"), finding_index("No Finding")
W, H = 8, 5


def _label(target: torch.Tensor, attribution: torch.Tensor | None = None, **arguments) -> torch.Tensor:
    attribution = torch.rand(14, W, H) if attribution is None else attribution
    return AttributionToLabeld("pred", **arguments)({"pred": attribution, "label": target})["pred"]


def _counts(channel: torch.Tensor) -> tuple[int, int, int]:
    return tuple(int((channel == value).sum()) for value in (FOREGROUND, IGNORE, BACKGROUND))  # type: ignore[return-value]


def test_brightest_share_is_foreground_the_next_ignored_the_rest_background() -> None:
    attribution = torch.zeros(14, 2, 5)
    attribution[EDEMA] = torch.tensor([[9.0, 1.0, 5.0, 0.0, 7.0], [2.0, 8.0, 3.0, 6.0, 4.0]])
    target = torch.zeros(14)
    target[EDEMA] = 1.0
    label = _label(target, attribution, foreground_share=0.2, ignore_share=0.3)
    expected = torch.tensor([[1, 0, IGNORE, 0, IGNORE], [0, 1, 0, IGNORE, 0]], dtype=torch.uint8)
    assert torch.equal(label[EDEMA], expected)
    assert label.dtype == torch.uint8


@pytest.mark.parametrize(
    ("foreground", "ignored", "counts"),
    [
        (0.1, 0.1, (4, 4, 32)),
        (0.25, 0.5, (10, 20, 10)),
        (0.0, 0.0, (0, 0, 40)),
        (1.0, 0.0, (40, 0, 0)),
        (0.0, 1.0, (0, 40, 0)),
        (0.03, 0.06, (1, 2, 37)),
    ],
)
def test_numbers_of_pixels_are_exactly_the_shares(foreground: float, ignored: float, counts: tuple) -> None:
    label = _label(torch.ones(14), foreground_share=foreground, ignore_share=ignored)
    assert all(_counts(label[channel]) == counts for channel in range(14) if channel != NO_FINDING)


def test_shares_are_per_observation_with_a_default() -> None:
    label = _label(
        torch.ones(14),
        foreground_share={"Edema": 0.5, "default": 0.2},
        ignore_share={"fracture": 0.3},
    )
    assert _counts(label[EDEMA]) == (20, 4, 16)
    assert _counts(label[FRACTURE]) == (8, 12, 20)
    assert _counts(label[finding_index("Pneumonia")]) == (8, 4, 28)


def test_negative_is_background_uncertain_and_unlocalized_ignored_and_half_positive() -> None:
    target = torch.tensor([0.0, 0.49, 0.5, 0.7, 1.0, -1.0, *[0.0] * 8])
    kinds = [_counts(channel) for channel in _label(target, unlocalized=[])]
    assert kinds[0] == kinds[1] == (0, 0, 40)
    assert kinds[2] == kinds[3] == kinds[4] == (4, 4, 32)
    assert kinds[5] == (0, 40, 0)
    for value in (-1.0, 0.0, 1.0):
        label = _label(torch.full((14,), value), unlocalized=["No Finding", "Edema"])
        assert _counts(label[NO_FINDING]) == _counts(label[EDEMA]) == (0, 40, 0)


def test_ties_keep_the_order_of_the_pixels() -> None:
    attribution = torch.ones(14, W, H)
    attribution[EDEMA, -1, -1] = 2.0
    label = _label(torch.ones(14), attribution)
    assert label[EDEMA].flatten().tolist() == [1, 1, 1, *[IGNORE] * 4, *[0] * 32, 1]
    assert torch.equal(label, _label(torch.ones(14), attribution))


@pytest.mark.parametrize("kind", ["zeros", "nan"])
def test_a_positive_observation_without_evidence_is_ignored(kind: str) -> None:
    """Nothing is brighter than anything: a label made of it would be a strip along the image's edge."""
    attribution = torch.rand(14, W, H)
    attribution[EDEMA] = 0.0 if kind == "zeros" else float("nan")
    label = _label(torch.ones(14), attribution)
    assert _counts(label[EDEMA]) == (0, 40, 0)


def _kinds(min_probability, probability: float | None, target: torch.Tensor) -> list[tuple[int, int, int]]:
    data = {"pred": torch.rand(14, W, H), "label": target}
    if probability is not None:
        data["logits"] = torch.full((14,), probability).logit()
    transform = AttributionToLabeld("pred", min_probability=min_probability, unlocalized=[])
    return [_counts(channel) for channel in transform(data)["pred"]]


def test_a_positive_observation_that_the_committee_does_not_see_is_ignored() -> None:
    target = torch.zeros(14)
    target[EDEMA], target[FRACTURE] = 1.0, -1.0
    label, ignored, background = (4, 4, 32), (0, 40, 0), (0, 0, 40)
    expected = [background] * 14
    expected[EDEMA], expected[FRACTURE] = label, ignored
    assert _kinds(0.4, 0.41, target) == expected
    expected[EDEMA] = ignored
    assert _kinds(0.4, 0.39, target) == expected
    assert _kinds(0.4, float("nan"), target) == expected


def test_smallest_probability_is_per_observation_with_a_default() -> None:
    kinds = _kinds({"Edema": 0.9, "fracture": 0.0, "default": 0.3}, 0.5, torch.ones(14))
    assert [channel for channel in range(14) if kinds[channel] == (0, 40, 0)] == [EDEMA]
    assert _kinds({"default": 0}, None, torch.ones(14)) == [(4, 4, 32)] * 14  # no logits are needed


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"foreground_share": -0.1}, InputError, "Shares must lie in"),
        ({"ignore_share": -0.1}, InputError, "Shares must lie in"),
        ({"foreground_share": 0.6, "ignore_share": 0.5}, InputError, "Shares must lie in"),
        ({"foreground_share": {"Edema": 1.1}, "ignore_share": 0.0}, InputError, "Shares must lie in"),
        ({"foreground_share": {"Heartache": 0.1}}, KeyError, "none of the 14"),
        ({"min_probability": -0.1}, InputError, "min_probability must lie in"),
        ({"min_probability": {"Edema": 2.0}}, InputError, "min_probability must lie in"),
        ({"min_probability": float("nan")}, InputError, "min_probability must lie in"),
    ],
)
def test_values_out_of_range_are_refused(arguments: dict, error: type, sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        AttributionToLabeld("pred", **arguments)


def test_gradient_times_difference_to_the_baseline() -> None:
    gradient, image = torch.randn(14, W, H), torch.rand(1, W, H)
    result = MultiplyByInputd(["a", "b"], baseline=0.25)({"a": gradient, "b": -gradient, "image": image})
    assert torch.equal(result["a"], gradient * (image - 0.25))
    assert torch.equal(result["b"], -gradient * (image - 0.25))


def test_magnitude_counts_evidence_against_or_drops_it() -> None:
    data = {"pred": torch.tensor([[[-2.0, 0.0, 3.0]]])}
    assert torch.equal(AttributionMagnituded("pred")(data)["pred"], torch.tensor([[[2.0, 0.0, 3.0]]]))
    assert torch.equal(AttributionMagnituded("pred", "positive")(data)["pred"], torch.tensor([[[0.0, 0.0, 3.0]]]))
    with pytest.raises(InputError, match="must be one of"):
        AttributionMagnituded("pred", "negative")


@pytest.mark.parametrize(("kind", "expected"), [("max", [0.25, 0.5, 1.0, 0.25]), ("mass", [0.5, 1.0, 2.0, 0.5])])
def test_normalized_channels_are_comparable_and_zeros_stay_zero(kind: str, expected: list[float]) -> None:
    values = torch.zeros(3, 2, 2)
    values[0] = torch.tensor([[1.0, 2.0], [4.0, 1.0]])
    values[2] = 1e-6 * values[0]
    result = NormalizeAttributiond("pred", kind)({"pred": values})["pred"]
    torch.testing.assert_close(result[0].flatten(), torch.tensor(expected))
    torch.testing.assert_close(result[2], result[0])
    assert torch.equal(result[1], torch.zeros(2, 2))
    with pytest.raises(InputError, match="must be one of"):
        NormalizeAttributiond("pred", "minimum")
