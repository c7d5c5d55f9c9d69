"""Likeness of maps, against hand-worked cases and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from doll_monai.metrics.maps import rank_correlation, rolled, structural_agreement


@pytest.fixture
def maps() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    return generator.integers(0, 9, (20, 30)).astype(np.float32), generator.random((20, 30), dtype=np.float32)


def test_rank_correlation_is_scipys_with_ties_and_sees_order_alone(maps) -> None:
    assert rank_correlation(*maps) == pytest.approx(spearmanr(maps[0].ravel(), maps[1].ravel()).statistic)
    assert rank_correlation(maps[1], maps[1] ** 3) == pytest.approx(1.0)
    assert rank_correlation(maps[1], -maps[1]) == pytest.approx(-1.0)
    assert rank_correlation(maps[1], np.ones_like(maps[1])) == 0.0


def test_structural_agreement_does_not_see_the_scale(maps) -> None:
    assert structural_agreement(maps[1], 100 * maps[1]) == pytest.approx(1.0, abs=1e-6)
    assert structural_agreement(*maps) < 0.3
    assert structural_agreement(maps[1], np.zeros_like(maps[1])) < 0.1


def test_rolled_map_has_the_same_values_elsewhere() -> None:
    image = np.zeros((20, 30))
    image[3, 4] = 1.0
    for seed in range(20):
        x, y = np.argwhere(rolled(image, np.random.default_rng(seed)))[0]
        assert 5 <= (x - 3) % 20 <= 15
        assert 7 <= (y - 4) % 30 <= 23
