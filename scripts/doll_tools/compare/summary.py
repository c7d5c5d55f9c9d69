"""Scores of cells over their seeds, and how they differ."""

from __future__ import annotations

import math

import pandas as pd

from doll_monai.handlers.image_scores import METRICS
from doll_monai.metrics.intervals import RESAMPLES
from doll_tools.compare.results import Results
from doll_tools.compare.statistics import (
    ALL,
    CELL,
    chosen_tuning,
    class_means,
    crossed_interval,
    iterations_to,
    paired,
    pairs_of_cells,
)

CHOSEN = "best on valid"
"""Stands for the tuning that is best on valid images."""


def with_class_means(images: pd.DataFrame) -> pd.DataFrame:
    """The images' rows and those of the class ``all``."""
    return pd.concat([class_means(images, METRICS), images], ignore_index=True)


def summarize(images: pd.DataFrame, resamples: int = RESAMPLES, seed: int = 0) -> pd.DataFrame:
    """Mean and interval of each score, a row a split, cell (all its seeds) and class.

    Args:
        images: of ``with_class_means``.
        resamples, seed: of ``crossed_interval``.
    """
    rows = []
    for key, part in images.groupby(["split", "shots", "init", "tuning", "class"], sort=False):
        row = dict(zip(["split", "shots", "init", "tuning", "class"], key, strict=True))
        row |= {"seeds": part["seed"].nunique(), "images": part["image"].nunique()}
        for metric in METRICS:
            ends = crossed_interval(part, metric, resamples, seed)
            row |= dict(zip((metric, f"{metric}_low", f"{metric}_high"), ends, strict=True))
        rows.append(row)
    return pd.DataFrame(rows)


def differences(images: pd.DataFrame, resamples: int = RESAMPLES, seed: int = 0) -> pd.DataFrame:
    """Paired differences of cells that differ in start or tuning alone, and of each start's tuning chosen on valid.

    Args:
        images: of ``with_class_means``.
        resamples, seed: of ``crossed_interval``.

    Returns:
        ``split``, ``shots``, ``class``; ``first`` and ``second`` as ``INIT/TUNING``; ``seeds`` and ``images`` that both
        have; the difference first minus second of each score with its interval.
    """
    rows = []
    for shots in sorted(map(int, images["shots"].unique())):
        of_shots = images[images["shots"] == shots]
        overall = of_shots[of_shots["class"] == ALL]
        cells = list(dict.fromkeys(zip(of_shots["init"], of_shots["tuning"], strict=True)))
        pairs = [(first, second, "") for first, second in pairs_of_cells(cells)]
        inits = list(dict.fromkeys(of_shots["init"]))
        best = [(init, chosen_tuning(overall, init, shots)) for init in inits]
        pairs += [(first, second, CHOSEN) for n, second in enumerate(best) for first in best[n + 1 :]]
        for key, part in of_shots.groupby(["split", "class"], sort=False):
            by_cell = dict(iter(part.groupby(["init", "tuning"])))
            for first, second, why in pairs:
                if first in by_cell and second in by_cell:
                    row = {"split": key[0], "shots": shots, "class": key[1], "chosen": why}
                    row |= {"first": "/".join(first), "second": "/".join(second)}
                    rows.append(row | _difference(by_cell[first], by_cell[second], resamples, seed))
    return pd.DataFrame(rows)


def _difference(first: pd.DataFrame, second: pd.DataFrame, resamples: int, seed: int) -> dict[str, float]:
    row: dict[str, float] = {}
    for metric in METRICS:
        difference = paired(first, second, metric)
        row |= {"seeds": difference["seed"].nunique(), "images": difference["image"].nunique()}
        ends = crossed_interval(difference, metric, resamples, seed)
        row |= dict(zip((metric, f"{metric}_low", f"{metric}_high"), ends, strict=True))
    return row


def learning(results: Results) -> pd.DataFrame:
    """How fast cells learn: medians over seeds, a row a cell.

    Returns:
        the cell, ``seeds``, ``iterations_to_95`` of its own last IoU on valid images, ``iterations_to_scratch``: to the
        last IoU of the network from scratch with the same shots and seed, trained as a whole; ``reached``: the share
        of seeds that get there (the median is over those); ``seconds``, parameters.
    """
    curves = dict(iter(results.curves.groupby([*CELL, "seed"])))
    rows = []
    for cell in results.cells.to_dict("records"):
        curve = curves[(cell["init"], cell["tuning"], cell["shots"], cell["seed"])]
        scratch = curves.get(("scratch", "full", cell["shots"], cell["seed"]))
        reached = float("nan") if scratch is None else iterations_to(curve, float(scratch["iou"].iloc[-1]))
        rows.append({**cell, "iterations_to_scratch": reached, "reached": float(not math.isnan(reached))})
    table = pd.DataFrame(rows).groupby(CELL, sort=False)
    columns = ["iterations_to_95", "iterations_to_scratch", "seconds", "trainable_parameters", "total_parameters"]
    medians = table[columns].median()
    medians["reached"] = table["reached"].mean()
    medians["seeds"] = table.size()
    return medians.reset_index()
