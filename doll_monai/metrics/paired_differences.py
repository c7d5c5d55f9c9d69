"""Means over images and seeds, differences between cells, and their intervals."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from doll_monai.metrics.bootstrap import LEVEL, RESAMPLES

Interval = tuple[float, float, float]
CELL = ["init", "tuning", "shots"]
IMAGE = ["seed", "image", "patient"]
ALL = "all"
"""Stands for the mean over all classes of an image."""


def crossed_interval(table: pd.DataFrame, column: str, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """Mean over the rows, and its 95 % percentile bootstrap interval over seeds and patients.

    Seeds and patients are drawn independently of each other, each with replacement, and a row counts as often as its
    seed times its patient were drawn (the "pigeonhole" bootstrap of crossed factors, Owen 2007). All images of a patient
    are drawn together. With a single seed the interval is over patients alone; of two or three seeds it is too narrow.

    Args:
        table: rows with ``seed``, ``patient`` and the column.
        column: of the values; rows without one (NaN) are left out.
        resamples, seed: number of draws, and the seed of the draws.

    Returns:
        mean, lower and upper end; all NaN without a row, the ends NaN with a single patient.
    """
    mean = float(table[column].mean())
    return mean, *_ends(_crossed_means(table, column, resamples, np.random.default_rng(seed)))


def tasks_interval(tables: Sequence[pd.DataFrame], column: str, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """Mean over tasks, each of the same weight, of the mean over a task's rows, and its 95 % bootstrap interval.

    The tasks are fixed; within each, seeds and patients are drawn as in ``crossed_interval``, in each task anew.

    Args:
        tables: of ``crossed_interval``, one a task.
        column, resamples, seed: of ``crossed_interval``.

    Returns:
        mean, lower and upper end; all NaN when a task has no row, the ends NaN when one has a single patient.
    """
    generator = np.random.default_rng(seed)
    drawn = np.mean([_crossed_means(table, column, resamples, generator) for table in tables], axis=0)
    return float(np.mean([table[column].mean() for table in tables])), *_ends(drawn)


def _crossed_means(
    table: pd.DataFrame, column: str, resamples: int, generator: np.random.Generator
) -> npt.NDArray[np.float64]:
    """The mean in each draw of seeds and patients; NaN in an empty draw, and in all with a single patient."""
    grouped = table.dropna(subset=column).groupby(["seed", "patient"])[column]
    sums = grouped.sum().unstack(fill_value=0).to_numpy(float)
    counts = grouped.count().unstack(fill_value=0).to_numpy(float)
    means = np.full(resamples, np.nan)
    if sums.shape[1] > 1:
        by_seed, by_patient = (
            generator.multinomial(count, np.full(count, 1 / count), size=resamples).astype(float)
            for count in sums.shape
        )
        total, number = (((by_seed @ values) * by_patient).sum(axis=1) for values in (sums, counts))
        np.divide(total, number, out=means, where=number > 0)
    return means


def _ends(means: npt.NDArray[np.float64]) -> tuple[float, float]:
    """The interval's ends from the draws that are not empty; NaN when all are."""
    means = means[~np.isnan(means)]
    if not len(means):
        return float("nan"), float("nan")
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def class_means(images: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """Each image's mean over its classes, as rows of the class ``all``; images with one class give the same numbers."""
    keys = [*CELL, *IMAGE, "split"]
    return images.groupby(keys, as_index=False, sort=False)[list(metrics)].mean().assign(**{"class": ALL})


def paired(first: pd.DataFrame, second: pd.DataFrame, column: str) -> pd.DataFrame:
    """Value of the first cell minus that of the second, for every seed and image that both have.

    Args:
        first, second: rows of one cell, class and split; one a seed and image.
        column: of the values.

    Returns:
        ``seed``, ``image``, ``patient`` and the difference in the column.
    """
    both = first.merge(second[[*IMAGE, column]], on=IMAGE, suffixes=("", "_second"), validate="one_to_one")
    return both.assign(**{column: both[column] - both[f"{column}_second"]})[[*IMAGE, column]]


def pairs_of_cells(cells: Sequence[tuple[str, str]]) -> Iterator[tuple[tuple[str, str], tuple[str, str]]]:
    """Pairs (init, tuning) that differ in one of the two, the later one first; the order is the cells' own."""
    for second, first in itertools.combinations(cells, 2):
        if (first[0] == second[0]) != (first[1] == second[1]):
            yield first, second


def chosen_tuning(images: pd.DataFrame, init: str, shots: int) -> str:
    """The tuning of an initialization whose IoU on ``valid`` images is best; test images are not looked at.

    Args:
        images: with the class ``all``.
        init, shots: of the cells.
    """
    rows = images[(images["split"] == "valid") & (images["init"] == init) & (images["shots"] == shots)]
    return str(rows.groupby("tuning", sort=False)["iou"].mean().idxmax())


def iterations_to(curve: pd.DataFrame, iou: float) -> float:
    """First iteration at which a validation curve is at least this high; NaN when it never is.

    Args:
        curve: ``iteration`` and ``iou``, in their order.
        iou: the height.
    """
    reached = curve.loc[curve["iou"] >= iou, "iteration"]
    return float(reached.iloc[0]) if len(reached) else float("nan")


def iterations_to_95(curve: pd.DataFrame) -> float:
    """First iteration with 95 % of the curve's last IoU; NaN of an empty curve."""
    return float("nan") if curve.empty else iterations_to(curve, 0.95 * float(curve["iou"].iloc[-1]))
