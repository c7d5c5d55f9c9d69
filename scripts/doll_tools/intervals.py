"""Bootstrap intervals of a mean when the rows of one patient, and those of one seed, belong together."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

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
    rows = pd.Series(np.asarray(values, dtype=float))
    cells = rows.groupby([np.zeros(len(rows)) if seeds is None else np.asarray(seeds), np.asarray(patients)])
    table = cells.agg(["sum", "count"])
    table = table[table["count"] > 0].unstack(fill_value=0)
    if table.empty or table["sum"].shape[1] < 2:
        return float(rows.mean()), float("nan"), float("nan")
    generator = np.random.default_rng(seed)
    by_seed, by_patient = (
        generator.multinomial(count, np.full(count, 1 / count), size=resamples) for count in table["sum"].shape
    )
    total, number = (((by_seed @ table[of].to_numpy(float)) * by_patient).sum(axis=1) for of in ("sum", "count"))
    low, high = np.quantile(total[number > 0] / number[number > 0], [0.025, 0.975])
    return float(rows.mean()), float(low), float(high)
