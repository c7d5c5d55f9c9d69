"""Scores of cells over their seeds and images, and how they differ."""

from __future__ import annotations

import itertools
from typing import Any

import pandas as pd

from doll_tools.compare.image_scores import METRICS, VALID
from doll_tools.intervals import crossed_interval

CELL = ["initialization", "tuning", "shots"]
SEEDED = [*CELL, "seed"]
IMAGE = ["seed", "image", "patient"]
ALL = "all"
"""Stands for the mean over all classes of an image."""
CHOSEN = "best on valid"
"""Says of a pair that each initialization has the tuning that is best on valid images."""


def with_class_means(images: pd.DataFrame) -> pd.DataFrame:
    """Scores of cells, splits, images and classes, and first each image's mean over its classes, the class ``all``."""
    keys = [*CELL, *IMAGE, "split"]
    means = images.groupby(keys, as_index=False, sort=False)[list(METRICS)].mean().assign(**{"class": ALL})
    return pd.concat([means, images], ignore_index=True)


def summarize(images: pd.DataFrame) -> pd.DataFrame:
    """Mean and interval of each score, a row a split, cell (all its seeds) and class, of ``with_class_means``."""
    keys = ["split", "shots", "initialization", "tuning", "class"]
    groups = images.groupby(keys, sort=False)
    return pd.DataFrame([{**dict(zip(keys, key, strict=True)), **_scores(part)} for key, part in groups])


def differences(images: pd.DataFrame) -> pd.DataFrame:
    """Paired differences of cells, over the seeds and images that both have.

    Cells are compared that differ in initialization or tuning alone, and initializations that each have their tuning
    chosen on valid images; test images are not looked at for that. A row has ``first`` and ``second`` as
    ``INITIALIZATION/TUNING``, and the difference first minus second of each score, of ``with_class_means``.
    """
    valid = images[(images["class"] == ALL) & (images["split"] == VALID)]
    on_valid = valid.groupby(CELL, sort=False)["iou"].mean().reset_index()
    rows = []
    for key, part in images.groupby(["split", "shots", "class"], sort=False):
        cells: dict[Any, pd.DataFrame] = dict(iter(part.groupby(["initialization", "tuning"], sort=False)))
        best = on_valid[on_valid["shots"] == key[1]]
        best = best.loc[best.groupby("initialization", sort=False)["iou"].idxmax()]
        pairs = [(a, b, "") for a, b in itertools.combinations(cells, 2) if (a[0] == b[0]) != (a[1] == b[1])]
        chosen = list(zip(best["initialization"], best["tuning"], strict=True))
        pairs += [(*pair, CHOSEN) for pair in itertools.combinations(chosen, 2)]
        for second, first, why in pairs:
            if first in cells and second in cells:
                one, other = (cells[cell].set_index(IMAGE)[list(METRICS)] for cell in (first, second))
                row = dict(zip(["split", "shots", "class"], key, strict=True)) | {"chosen": why}
                row |= {"first": "/".join(first), "second": "/".join(second)}
                rows.append({**row, **_scores((one - other).dropna().reset_index())})
    return pd.DataFrame(rows)


def iterations_to_95(curve: pd.DataFrame) -> float:
    """First ``iteration`` with 95 % of a validation curve's last ``iou``; NaN of an empty curve."""
    if curve.empty:
        return float("nan")
    reached = curve.loc[curve["iou"] >= 0.95 * float(curve["iou"].iloc[-1]), "iteration"]
    return float(reached.iloc[0])


def _scores(table: pd.DataFrame) -> dict[str, Any]:
    """Mean and interval of each score over seeds and patients, and how many seeds and images they are of."""
    row: dict[str, Any] = {"seeds": table["seed"].nunique(), "images": table["image"].nunique()}
    for metric in METRICS:
        ends = crossed_interval(table[metric], list(table["patient"]), list(table["seed"]))
        row |= zip((metric, f"{metric}_low", f"{metric}_high"), ends, strict=True)
    return row
