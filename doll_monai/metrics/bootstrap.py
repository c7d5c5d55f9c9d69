"""Intervals of a mean over pairs when the pairs of one patient belong together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

LEVEL = 0.95
RESAMPLES = 2000


def mean_interval(
    values: pd.Series, patients: pd.Series, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float, float]:
    """Mean over pairs, and its 95 % percentile bootstrap interval; whole patients are drawn, with all their pairs.

    Args:
        values: one number a pair; empty ones (NaN) are left out.
        patients: the patient of each pair.
        resamples: number of draws.
        seed: of the draws.

    Returns:
        mean, lower and upper end; NaN where there is no value, the ends also where there is a single patient.
    """
    table = pd.DataFrame({"value": values.to_numpy(float), "patient": patients.to_numpy()}).dropna(subset="value")
    by_patient = table.groupby("patient")["value"].agg(["sum", "count"])
    mean = float(table["value"].mean())
    if len(by_patient) < 2:
        return mean, float("nan"), float("nan")
    result = stats.bootstrap(
        (by_patient["sum"].to_numpy(float), by_patient["count"].to_numpy(float)),
        _ratio,
        paired=True,
        vectorized=True,
        n_resamples=resamples,
        batch=200,
        confidence_level=LEVEL,
        method="percentile",
        random_state=np.random.default_rng(seed),
    )
    return mean, float(result.confidence_interval.low), float(result.confidence_interval.high)


def _ratio(sums: Any, counts: Any, axis: int) -> Any:
    """Mean over the pairs of the patients drawn."""
    return sums.sum(axis=axis) / counts.sum(axis=axis)
