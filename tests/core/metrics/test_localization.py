"""Scores of a map's brightest part, chance, the location prior and rank correlation, against references."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from doll_monai.metrics.localization import (
    LocationPrior,
    brightest,
    chance_iou,
    hit,
    iou,
    iou_at_shares,
    rank_correlation,
)

SIDE = LocationPrior.SIDE


def test_brightest_takes_exactly_the_share_and_nothing_without_evidence() -> None:
    values = np.array([[0.0, 3.0], [1.0, 1.0]])
    assert brightest(values, 0.5).tolist() == [[False, True], [True, False]]
    assert brightest(values, 0.01).sum() == 1
    assert not brightest(np.zeros((2, 2)), 0.5).any()


def test_iou_and_hit_by_hand() -> None:
    first, second = np.array([True, True, False, False]), np.array([False, True, True, False])
    assert iou(first, second) == pytest.approx(1 / 3)
    assert iou(first & ~first, second & ~second) == 0.0
    assert hit(np.array([0.0, 2.0, 1.0, 0.0]), second)
    assert not hit(np.array([2.0, 1.0, 1.0, 0.0]), second)
    assert not hit(np.zeros(4), ~first)


def test_several_shares_are_scored_as_each_alone() -> None:
    generator = np.random.default_rng(1)
    values, truth = generator.integers(0, 5, (9, 11)).astype(float), generator.random((9, 11)) < 0.3
    shares = [0.001, 0.1, 0.3, 1.0]
    assert iou_at_shares(values, truth, shares) == pytest.approx([iou(brightest(values, s), truth) for s in shares])
    assert iou_at_shares(0 * values, truth, shares) == [0.0] * 4


def test_chance_is_the_mean_over_all_places() -> None:
    """Two pixels of four in a row: once both meet (1), twice one does (1/3), once none."""
    row = np.array([[True, True, False, False]])
    assert chance_iou(row, row) == pytest.approx((1 + 1 / 3 + 0 + 1 / 3) / 4)
    generator = np.random.default_rng(1)
    region, truth = generator.random((6, 7)) < 0.3, generator.random((6, 7)) < 0.4
    shifted = [iou(np.roll(region, (x, y), (0, 1)), truth) for x in range(6) for y in range(7)]
    assert chance_iou(region, truth) == pytest.approx(np.mean(shifted))
    assert chance_iou(region & False, truth) == 0.0


def _half(top: bool) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[:, : SIDE // 2] = top
    mask[:, SIDE // 2 :] = not top
    return mask


def test_prior_is_the_mean_of_other_patients() -> None:
    prior = LocationPrior()
    for patient, top in (("a", True), ("b", True), ("b", False), ("c", False)):
        prior.add(patient, 2, _half(top))
    for patient, upper, lower in (("a", 1 / 3, 2 / 3), ("b", 1 / 2, 1 / 2), ("c", 2 / 3, 1 / 3), ("new", 1 / 2, 1 / 2)):
        found = prior.map(patient, 2, (30, 50))
        assert found is not None
        assert found.shape == (30, 50)
        assert found[:, 5] == pytest.approx(upper)
        assert found[:, -5] == pytest.approx(lower)
    prior.add("a", 3, _half(True))
    assert prior.map("a", 3, (8, 8)) is None  # this patient alone has the finding
    assert prior.map("a", 4, (8, 8)) is None
    assert prior.map("b", 3, (8, 8)) is not None


def test_rank_correlation_is_scipys_with_ties_and_sees_order_alone() -> None:
    generator = np.random.default_rng(0)
    first, second = generator.integers(0, 9, (20, 30)).astype(np.float32), generator.random((20, 30))
    assert rank_correlation(first, second) == pytest.approx(spearmanr(first.ravel(), second.ravel()).statistic)
    assert rank_correlation(second, second**3) == pytest.approx(1.0)
    assert rank_correlation(second, -second) == pytest.approx(-1.0)
    assert rank_correlation(second, np.ones_like(second)) == 0.0
