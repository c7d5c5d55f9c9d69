"""How alike two maps are, and what a region that knows nothing would score."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata
from skimage.metrics import structural_similarity


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's rank correlation of two maps over their pixels, -1 ... 1; ties share their mean rank.

    Two maps have nothing in common, 0, when one of them is the same everywhere.
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

    It is as smooth as the map and knows nothing of the place: what two unrelated maps have in common.
    """
    shifts = [int(generator.integers(size // 4, size - size // 4 + 1)) for size in values.shape]
    return np.roll(values, shifts, axis=(0, 1))


def brightest(values: np.ndarray, share: float) -> np.ndarray:
    """The brightest share of a map's pixels as a mask, by rank; equal values keep the order of the pixels.

    A map without any evidence has none.
    """
    mask = np.zeros(values.size, dtype=bool)
    if values.max() > 0:
        mask[np.argsort(-values.ravel(), kind="stable")[: round(share * values.size)]] = True
    return mask.reshape(values.shape)


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    """IoU of two masks; 0 when both are empty."""
    union = int((first | second).sum())
    return int((first & second).sum()) / union if union else 0.0


def chance_overlap(region: np.ndarray, truth: np.ndarray) -> float:
    """Expected IoU of a region with the truth when it lies anywhere: the mean over all shifts of it, wrapped around.

    Exact and without random numbers. A compact region either meets the truth or misses it, and scores more on
    average than scattered pixels of the same number, whose IoU is s t / (s + t - s t) for the shares s and t.

    Args:
        region, truth: masks of the same shape.
    """
    spectrum = np.conj(np.fft.rfft2(region.astype(float))) * np.fft.rfft2(truth.astype(float))
    shared = np.rint(np.fft.irfft2(spectrum, s=region.shape))
    union = int(region.sum()) + int(truth.sum()) - shared
    return float(np.mean(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)))
