"""Means over images and seeds, differences between cells, and their intervals."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import pandas as pd

from doll_monai.metrics import intervals
from doll_monai.metrics.intervals import RESAMPLES, Interval

CELL = ["init", "tuning", "shots"]
IMAGE = ["seed", "image", "patient"]
ALL = "all"
"""Stands for the mean over all classes of an image."""


def crossed_interval(table: pd.DataFrame, column: str, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """``intervals.crossed_interval`` of a column of a table with ``seed`` and ``patient``."""
    return intervals.crossed_interval(table[column], table["patient"], table["seed"], resamples, seed)


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
