"""Scores of an image, with and without an empty mask; the images that are shown."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from doll_monai.handlers.image_scores import class_scores
from doll_monai.visualize.overlays import Overlays


def _mask(columns: slice | None) -> torch.Tensor:
    mask = torch.zeros(30, 40)
    if columns is not None:
        mask[10:20, columns] = 1
    return mask


@pytest.mark.parametrize(
    ("prediction", "truth", "expected"),
    [
        (slice(10, 20), slice(10, 20), (1, 1, 0)),
        (slice(10, 20), slice(15, 25), (1 / 2, 1 / 3, 5 / 50)),
        (slice(0, 10), slice(20, 30), (0, 0, 20 / 50)),
        (None, None, (1, 1, 0)),
        (slice(10, 20), None, (0, 0, 1)),
        (None, slice(10, 20), (0, 0, 1)),
    ],
)
def test_scores_are_those_worked_by_hand(
    prediction: slice | None, truth: slice | None, expected: tuple[float, float, float]
) -> None:
    scores = class_scores(_mask(prediction), _mask(truth))
    assert tuple(scores.values()) == pytest.approx(expected)
    assert list(scores) == ["dice", "iou", "hd95"]


def test_distance_is_a_share_of_the_diagonal_at_any_size() -> None:
    prediction, truth = _mask(slice(10, 20)), _mask(slice(15, 25))
    large = [mask.repeat_interleave(4, 0).repeat_interleave(4, 1) for mask in (prediction, truth)]
    assert class_scores(*large)["hd95"] == pytest.approx(class_scores(prediction, truth)["hd95"])
    assert math.hypot(*truth.shape) == 50


def test_best_median_and_worst_are_shown() -> None:
    overlays = Overlays()
    mask = np.zeros((1, 8, 8), bool)
    for number, iou in enumerate([0.5, 0.9, 0.1, 0.4]):
        overlays.add(iou, Path(f"{number}.png"), mask, mask)
    assert {name: image[0] for name, image in overlays.chosen().items()} == {"best": 0.9, "median": 0.4, "worst": 0.1}
    assert overlays.picture().startswith(b"\x89PNG")
    assert Overlays().chosen() == {}
