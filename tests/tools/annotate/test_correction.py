"""Clicks that correct a proposal."""

from __future__ import annotations

import numpy as np
import pytest

from doll_tools.annotate.correction import correct_proposal

IMAGE = np.zeros((120, 100))
IMAGE[20:100, 10:45] = 1
IMAGE[20:100, 55:90] = 1
"""Two bright fields, which a network should find; it proposes the left one."""
LEFT = np.full((120, 100), 0.05)
LEFT[20:100, 10:45] = 0.95


def test_clicks_bring_back_a_field_that_was_left_out_and_stay_inside() -> None:
    before = correct_proposal(LEFT, IMAGE, [], []) > 0.5
    assert np.array_equal(before, LEFT > 0.5)
    after = correct_proposal(LEFT, IMAGE, [(72, 40), (72, 80)], []) > 0.5
    assert (after & (IMAGE > 0)).sum() > 1.4 * before.sum()
    assert not after[:, 47:53].any()


def test_click_takes_away_what_does_not_belong() -> None:
    after = correct_proposal(LEFT, IMAGE, [], [(27, 60)]) > 0.5
    assert not after[60, 27]
    assert after.sum() < 0.75 * (LEFT > 0.5).sum()


@pytest.mark.parametrize("shape", [(3, 2), (700, 500)])
def test_clicked_pixels_are_what_was_clicked(shape: tuple[int, int]) -> None:
    result = correct_proposal(np.full(shape, 0.5), np.zeros(shape), [(0, 0)], [(shape[1] - 1, shape[0] - 1)])
    assert result[0, 0] > 0.5 > result[-1, -1]
    assert result.shape == shape


def test_click_beside_the_image_counts_at_its_margin() -> None:
    assert correct_proposal(LEFT, IMAGE, [(1000, -5)], [])[0, 99] > 0.5
