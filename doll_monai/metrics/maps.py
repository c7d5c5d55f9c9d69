"""How alike two maps are."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata
from skimage.metrics import structural_similarity


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's rank correlation of two maps over their pixels, -1 ... 1; ties share their mean rank.

    Two maps have nothing in common, 0, when one of them is the same everywhere (scipy's ``spearmanr`` is NaN there).
    """
    a, b = (rankdata(values.ravel()) - (values.size + 1) / 2 for values in (first, second))
    norm = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / norm if norm > 0 else 0.0


def structural_agreement(first: np.ndarray, second: np.ndarray) -> float:
    """SSIM (Wang et al. 2004, scikit-image) of two maps >= 0, each divided by its maximum; windows of 7 pixels."""
    a, b = (values.astype(np.float64) / max(float(values.max()), 1e-30) for values in (first, second))
    return float(structural_similarity(a, b, data_range=1.0))


def rolled(values: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The map moved by at least a quarter of its size along both axes, what leaves it on one side enters on the other.

    It is as smooth as the map and unrelated to it: the likeness that any two maps have.
    """
    shifts = [int(generator.integers(size // 4, size - size // 4 + 1)) for size in values.shape]
    return np.roll(values, shifts, axis=(0, 1))
