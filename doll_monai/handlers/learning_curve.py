"""When a learning curve flattens: the sign that a network begins to learn wrong labels by heart."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from scipy.optimize import OptimizeWarning, curve_fit


def slope_fall(values: Sequence[float]) -> float:
    """How far the slope of a learning curve has fallen since the first epoch, (f'(1) - f'(t)) / f'(1).

    ``f(t) = a (1 - exp(-b t^c))`` is fitted to the values of the epochs t = 1, 2, ...; Liu et al. 2022
    (ADELE, arXiv 2110.03740) take the magnitude of the change, here a slope that grows is no sign of memorization.

    Args:
        values: one value in [0, 1] for each epoch, three at least.

    Returns:
        1 where the curve is flat, 0 where it still rises as in the first epoch, negative where it rises faster; 0 when
        it is zero throughout or no curve fits.
    """
    curve = np.asarray(values, dtype=np.float64)
    if curve.max() <= 0:
        return 0.0
    t = np.arange(1.0, len(curve) + 1)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", OptimizeWarning)
        try:
            (_, b, c), _ = curve_fit(
                _learning_curve, t, curve, p0=(min(curve.max(), 1.0), 1.0, 1.0), bounds=(0, (1, np.inf, np.inf))
            )
        except RuntimeError:
            return 0.0
        # f'(t) / f'(1), with the common factors a b c left out
        return float(1 - np.exp((c - 1) * np.log(t[-1]) - b * (t[-1] ** c - 1)))


def _learning_curve(t: np.ndarray, a: float, b: float, c: float) -> np.ndarray:
    return a * -np.expm1(-b * t**c)
