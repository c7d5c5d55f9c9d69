"""How alike two maps are."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's rank correlation of two maps over their pixels, -1 ... 1; ties share their mean rank.

    Two maps have nothing in common, 0, when one of them is the same everywhere (scipy's ``spearmanr`` is NaN there).
    """
    a, b = (rankdata(values.ravel()) - (values.size + 1) / 2 for values in (first, second))
    norm = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / norm if norm > 0 else 0.0
