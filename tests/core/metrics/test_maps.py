"""Likeness of maps, against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from doll_monai.metrics.maps import rank_correlation


def test_rank_correlation_is_scipys_with_ties_and_sees_order_alone() -> None:
    generator = np.random.default_rng(0)
    first, second = generator.integers(0, 9, (20, 30)).astype(np.float32), generator.random((20, 30))
    assert rank_correlation(first, second) == pytest.approx(spearmanr(first.ravel(), second.ravel()).statistic)
    assert rank_correlation(second, second**3) == pytest.approx(1.0)
    assert rank_correlation(second, -second) == pytest.approx(-1.0)
    assert rank_correlation(second, np.ones_like(second)) == 0.0
