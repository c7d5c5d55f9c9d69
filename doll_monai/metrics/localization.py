"""How well the brightest part of a map finds a region, two floors (chance, usual location), and how alike maps are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.stats import rankdata
from skimage.transform import resize


def brightest(values: np.ndarray, share: float) -> np.ndarray:
    """The brightest share of a map's pixels as a mask, by rank; equal values keep the order of the pixels.

    At least one pixel; none of a map without any evidence, which is <= 0 everywhere.
    """
    mask = np.zeros(values.size, dtype=bool)
    if values.max() > 0:
        mask[np.argsort(-values.ravel(), kind="stable")[: max(round(share * values.size), 1)]] = True
    return mask.reshape(values.shape)


def iou(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two masks; 0 when both are empty."""
    union = int((first | second).sum())
    return int((first & second).sum()) / union if union else 0.0


def iou_at_shares(values: np.ndarray, ground_truth: np.ndarray, shares: Sequence[float]) -> list[float]:
    """IoU of a map's brightest part (``brightest``) with the ground truth, for several shares with one sort."""
    if not values.max() > 0:
        return [0.0] * len(shares)
    found = np.cumsum(ground_truth.ravel()[np.argsort(-values.ravel(), kind="stable")])
    sizes = [max(round(share * values.size), 1) for share in shares]
    return [float(found[n - 1] / (n + found[-1] - found[n - 1])) for n in sizes]


def hit(values: np.ndarray, ground_truth: np.ndarray) -> bool:
    """Whether the maximum of a map lies in the ground truth: the pointing game (Zhang et al. 2018)."""
    return bool(values.max() > 0 and ground_truth.ravel()[values.argmax()])


def chance_iou(region: np.ndarray, ground_truth: np.ndarray) -> float:
    """Chance: the expected IoU of a region of the label's own shape at a random place in the image.

    The mean over all shifts of the region, (W, H) bool, wrapped around: exact, without random numbers.
    """
    spectrum = np.conj(np.fft.rfft2(region.astype(float))) * np.fft.rfft2(ground_truth.astype(float))
    shared = np.rint(np.fft.irfft2(spectrum, s=region.shape))
    union = int(region.sum()) + int(ground_truth.sum()) - shared
    return float(np.mean(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)))


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's rank correlation of two maps over their pixels; 0, not scipy's NaN, when one is the same all over."""
    a, b = (rankdata(values.ravel()) - (values.size + 1) / 2 for values in (first, second))
    norm = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / norm if norm > 0 else 0.0


class LocationPrior:
    """Where a finding usually lies: the mean ground truth of the same finding in other patients' images.

    It never sees the image: a label that is not better has learnt where the finding lies in most people, at the most.
    The mean is taken on a grid that covers every image, and smoothed, since the mean of few boxes has steps.
    """

    SIDE = 64  # cells of the grid along each axis
    SIGMA = 0.02  # of the smoothing, as a share of the image's width and height

    def __init__(self) -> None:
        self._masks: dict[int, dict[str, list[np.ndarray]]] = defaultdict(lambda: defaultdict(list))
        self._sums: dict[int, np.ndarray] = defaultdict(lambda: np.zeros((self.SIDE, self.SIDE)))

    def add(self, patient: str, channel: int, mask: np.ndarray) -> None:
        """Add the ground truth of one image and finding, (SIDE, SIDE) bool."""
        self._masks[channel][patient].append(mask)
        self._sums[channel] += mask

    def map(self, patient: str, channel: int, size: tuple[int, ...]) -> np.ndarray | None:
        """The prior for a patient's image, (W, H), 0 to 1; None when no other patient has ground truth of it."""
        own = self._masks[channel].get(patient, [])
        others = sum(map(len, self._masks[channel].values())) - len(own)
        if others == 0:
            return None
        mean = (self._sums[channel] - sum(own)) / others
        smooth: np.ndarray = resize(gaussian_filter(mean, self.SIGMA * self.SIDE), size, order=1)
        return smooth
