"""Likeness of maps and chance, against hand-worked cases and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from doll_monai.metrics.maps import brightest, chance_overlap, overlap, rank_correlation, rolled, structural_agreement


@pytest.fixture
def maps() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    return generator.integers(0, 9, (20, 30)).astype(np.float32), generator.random((20, 30), dtype=np.float32)


def test_rank_correlation_is_scipys_with_ties(maps) -> None:
    assert rank_correlation(*maps) == pytest.approx(spearmanr(maps[0].ravel(), maps[1].ravel()).statistic)


def test_rank_correlation_sees_order_alone(maps) -> None:
    assert rank_correlation(maps[1], maps[1] ** 3) == pytest.approx(1.0)
    assert rank_correlation(maps[1], -maps[1]) == pytest.approx(-1.0)
    assert rank_correlation(maps[1], np.ones_like(maps[1])) == 0.0


def test_structural_agreement_does_not_see_the_scale(maps) -> None:
    assert structural_agreement(maps[1], 100 * maps[1]) == pytest.approx(1.0, abs=1e-6)
    assert structural_agreement(*maps) < 0.3
    assert structural_agreement(maps[1], np.zeros_like(maps[1])) < 0.1


def test_rolled_map_has_the_same_values_elsewhere(maps) -> None:
    image = np.zeros((20, 30))
    image[3, 4] = 1.0
    for seed in range(20):
        x, y = np.argwhere(rolled(image, np.random.default_rng(seed)))[0]
        assert 5 <= (x - 3) % 20 <= 15
        assert 7 <= (y - 4) % 30 <= 23


def test_brightest_takes_exactly_the_share_and_nothing_without_evidence() -> None:
    values = np.array([[0.0, 3.0], [1.0, 1.0]])
    assert brightest(values, 0.5).tolist() == [[False, True], [True, False]]
    assert not brightest(np.zeros((2, 2)), 0.5).any()


def test_overlap_by_hand() -> None:
    first, second = np.array([True, True, False, False]), np.array([False, True, True, False])
    assert overlap(first, second) == pytest.approx(1 / 3)
    assert overlap(first & ~first, second & ~second) == 0.0


def test_chance_overlap_is_the_mean_over_all_places_by_hand() -> None:
    """Two pixels of four in a row: once both meet (1), twice one does (1/3), once none."""
    row = np.array([[True, True, False, False]])
    assert chance_overlap(row, row) == pytest.approx((1 + 1 / 3 + 0 + 1 / 3) / 4)


def test_chance_overlap_is_that_of_every_shift() -> None:
    generator = np.random.default_rng(1)
    region, truth = generator.random((6, 7)) < 0.3, generator.random((6, 7)) < 0.4
    shifted = [overlap(np.roll(region, (x, y), (0, 1)), truth) for x in range(6) for y in range(7)]
    assert chance_overlap(region, truth) == pytest.approx(np.mean(shifted))
    assert chance_overlap(region & False, truth) == 0.0
