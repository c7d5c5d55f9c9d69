"""Bootstrap intervals of a mean when the rows of one patient, and those of one seed, belong together."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

LEVEL = 0.95
RESAMPLES = 2000
Interval = tuple[float, float, float]
"""Mean, lower end, upper end."""


def crossed_interval(
    values: npt.ArrayLike,
    patients: npt.ArrayLike,
    seeds: npt.ArrayLike | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Mean over the rows, and its 95 % percentile bootstrap interval over patients and seeds.

    Patients and seeds are drawn independently, with replacement, and a row counts as often as its patient times its
    seed was drawn: the "pigeonhole" bootstrap of crossed factors (Owen 2007), which scipy does not have. Without seeds
    it is the usual cluster bootstrap over patients; of two or three seeds the interval is too narrow.

    Args:
        values: (N,); rows without one (NaN) are left out.
        patients, seeds: of each row; any labels.

    Returns:
        mean, lower and upper end; all NaN without a value, the ends NaN with a single patient.
    """
    rows = np.asarray(values, dtype=float)
    kept = ~np.isnan(rows)
    if not kept.any():
        return float("nan"), float("nan"), float("nan")
    rows, mean = rows[kept], float(rows[kept].mean())
    labels = (np.zeros(len(kept)) if seeds is None else np.asarray(seeds), np.asarray(patients))
    codes = tuple(np.unique(label[kept], return_inverse=True)[1] for label in labels)
    sums, counts = (np.zeros([int(code.max()) + 1 for code in codes]) for _ in range(2))
    np.add.at(sums, codes, rows)
    np.add.at(counts, codes, 1)
    if sums.shape[1] < 2:
        return mean, float("nan"), float("nan")
    generator = np.random.default_rng(seed)
    by_seed, by_patient = (
        generator.multinomial(count, np.full(count, 1 / count), size=resamples).astype(float) for count in sums.shape
    )
    total, number = (((by_seed @ table) * by_patient).sum(axis=1) for table in (sums, counts))
    low, high = np.quantile(total[number > 0] / number[number > 0], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return mean, float(low), float(high)
