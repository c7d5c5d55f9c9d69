"""Wrong labels from right ones: a region displaced, blurred and drawn to bright anatomy, as much as is asked for.

These are the errors that DoLLs were seen to have; how they are mixed is ours.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
from scipy.ndimage import gaussian_filter, shift
from scipy.optimize import brentq

from doll_monai.utils.errors import InputError

DISPLACEMENT = 0.2
"""Standard deviation of the displacement along each axis at strength 1, as a share of the film's shorter side."""
BLUR = 0.06
"""Standard deviation of the Gaussian blur at strength 1, likewise; that of DoLLs."""
BRIGHTNESS = 0.5
"""Weight of bright anatomy in the evidence at strength 1."""
SHARE = 0.1
"""Share of the film's pixels in a region at strength 1; that of DoLLs."""
PRECISION = 5e-4
"""Of the strength; where the IoU falls fastest, 0.003 of it."""


def bright_anatomy(film: np.ndarray) -> np.ndarray:
    """Where a film is bright, blurred as a degraded region is: (H, W) in 0..1.

    Args:
        film: (H, W), bright is dense.
    """
    blurred = gaussian_filter(film.astype(np.float32), BLUR * min(film.shape))
    low, high = float(blurred.min()), float(blurred.max())
    return np.asarray((blurred - low) / max(high - low, 1e-6), dtype=np.float32)


def degrade(mask: np.ndarray, bright: np.ndarray, strength: float, generator: np.random.Generator) -> np.ndarray:
    """A true region with errors; strength 0 gives it back as it is.

    With s the strength, the region is blurred by ``s BLUR``, displaced in a random direction by ``s DISPLACEMENT`` and
    mixed with bright anatomy, whose weight is ``s BRIGHTNESS``. Of this evidence the highest pixels are the new region,
    as in a DoLL; their share of the film goes from the true region's to ``SHARE``, geometrically.

    Args:
        mask: (H, W) bool, not empty.
        bright: (H, W), of ``bright_anatomy``.
        strength: 0..1.
        generator: draws the displacement, the same one in units of ``strength`` whatever that is.

    Returns:
        (H, W) bool.
    """
    side = min(mask.shape)
    step = generator.standard_normal(2) * DISPLACEMENT * strength * side
    region = shift(gaussian_filter(mask.astype(np.float32), BLUR * strength * side), step, order=1)
    region /= max(float(region.max()), 1e-6)
    weight = BRIGHTNESS * strength
    evidence = (1 - weight) * region + weight * bright
    count = max(1, round(mask.size * float(mask.mean()) ** (1 - strength) * SHARE**strength))
    degraded = np.zeros(mask.size, bool)
    degraded[np.argsort(-evidence, axis=None, kind="stable")[:count]] = True
    return degraded.reshape(mask.shape)


def generator_of(seed: int, image: str, channel: int) -> np.random.Generator:
    """The random numbers of one label, whatever other films and observations there are."""
    digest = hashlib.sha256(f"{seed}:{image}:{channel}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


def iou(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two masks of one shape; NaN when both are empty."""
    union = np.count_nonzero(first | second)
    return np.count_nonzero(first & second) / union if union else float("nan")


def strength_for(wanted: float, mean_iou: Callable[[float], float]) -> float:
    """The strength whose mean IoU with the truth is the wanted one, by Brent's method.

    Args:
        wanted: above 0, at most 1.
        mean_iou: of a strength; it falls from 1 at strength 0.

    Raises:
        InputError: when even strength 1 leaves more.
    """
    if wanted >= 1:
        return 0.0
    excess = mean_iou(1.0) - wanted
    if excess > 0:
        lowest = excess + wanted
        raise InputError(
            f"A label quality of {wanted:g} is out of reach, the lowest is {lowest:.2f}; give more, or none."
        )
    ends = {0.0: 1 - wanted, 1.0: excess}
    return float(brentq(lambda strength: ends.get(strength) or mean_iou(strength) - wanted, 0.0, 1.0, xtol=PRECISION))
