"""Clicks that correct a proposal."""

from __future__ import annotations

import numpy as np
import pytest

from doll_tools.annotate.correction import correct_proposal

IMAGE = np.zeros((120, 100))
IMAGE[20:100, 10:45] = 1
IMAGE[20:100, 55:90] = 1
"""Two bright fields, which a network should find."""


def _left() -> np.ndarray:
    probability = np.full((120, 100), 0.05)
    probability[20:100, 10:45] = 0.95
    return probability


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def test_no_click_changes_nothing() -> None:
    assert np.array_equal(correct_proposal(_left(), IMAGE, [], []) > 0.5, _left() > 0.5)


def test_clicks_bring_back_a_field_that_was_left_out_and_stay_inside() -> None:
    before = _dice(_left() > 0.5, IMAGE > 0)
    after = correct_proposal(_left(), IMAGE, [(72, 40), (72, 80)], []) > 0.5
    assert _dice(after, IMAGE > 0) > before + 0.2
    assert not after[:, 47:53].any()


def test_click_takes_away_what_does_not_belong() -> None:
    after = correct_proposal(_left(), IMAGE, [], [(27, 60)]) > 0.5
    assert not after[60, 27]
    assert after.sum() < 0.75 * (_left() > 0.5).sum()


@pytest.mark.parametrize("shape", [(3, 2), (700, 500)])
def test_clicked_pixels_are_what_was_clicked(shape: tuple[int, int]) -> None:
    probability = np.full(shape, 0.5)
    last = shape[1] - 1, shape[0] - 1
    result = correct_proposal(probability, np.zeros(shape), [(0, 0)], [last])
    assert result[0, 0] > 0.5 > result[-1, -1]
    assert result.shape == shape


def test_click_beside_the_image_counts_at_its_margin() -> None:
    assert correct_proposal(_left(), IMAGE, [(1000, -5)], [])[0, 99] > 0.5
