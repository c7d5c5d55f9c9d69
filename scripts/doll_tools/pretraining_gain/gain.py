"""What pre-training gains over a start from scratch, from the comparison's films and curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from doll_monai.handlers.image_scores import TEST
from doll_monai.metrics.bootstrap import RESAMPLES
from doll_monai.metrics.paired_differences import ALL, crossed_interval, paired
from doll_tools.compare.results import Results
from doll_tools.compare.summary import learning, with_class_means
from doll_tools.pretraining_gain.request import REFERENCE

COLUMNS = [
    *("labels", "quality_wanted", "quality", "films", "init", "tuning", "shots", "class", "seeds", "test_films"),
    *("iou", "iou_low", "iou_high", "scratch_iou", "gain", "gain_low", "gain_high"),
    *("iterations_to_scratch", "reached", "iterations"),
]


@dataclass(frozen=True)
class PretrainedPoint:
    """A pre-trained network and the labels that it learnt from.

    Attributes:
        init: its name in the comparison.
        labels: name of the labels.
        wanted: their quality as asked for: a number, ``none``, or nothing for labels made elsewhere.
        quality: their mean IoU with the truth, measured.
        films: number of training films.
    """

    init: str
    labels: str
    wanted: str
    quality: float
    films: int


def gain_table(
    results: Results, points: Sequence[PretrainedPoint], iterations: int, resamples: int = RESAMPLES, seed: int = 0
) -> pd.DataFrame:
    """Gain in IoU on test films over ``scratch/full``, paired by seed and film, with its interval.

    Args:
        results: of the comparison.
        points: the networks.
        iterations: of the task's trainings.
        resamples, seed: of ``crossed_interval``.

    Returns:
        a row a network, tuning, number of shots and class; the class ``all`` is the mean of each film's classes.
        ``iterations_to_scratch``: median over the seeds that reach scratch's last IoU on valid films, whose share is
        ``reached``.
    """
    films = with_class_means(results.films)
    films = films[films["split"] == TEST]
    speed = learning(results)
    cells = dict(iter(films.groupby(["init", "tuning", "shots", "class"], sort=False)))
    rows = []
    for point in points:
        for (init, tuning, shots, name), part in cells.items():
            scratch = cells.get((*REFERENCE, shots, name))
            if init != point.init or scratch is None:
                continue
            row = {"labels": point.labels, "quality_wanted": point.wanted, "quality": point.quality}
            row |= {"films": point.films, "init": init, "tuning": tuning, "shots": shots, "class": name}
            row |= {"seeds": part["seed"].nunique(), "test_films": part["film"].nunique()}
            difference = paired(part, scratch, "iou")
            for column, table in (("iou", part), ("gain", difference.rename(columns={"iou": "gain"}))):
                ends = crossed_interval(table, column, resamples, seed)
                row |= dict(zip((column, f"{column}_low", f"{column}_high"), ends, strict=True))
            learnt = speed[(speed[["init", "tuning", "shots"]] == [init, tuning, shots]).all(axis=1)].iloc[0]
            row |= {"scratch_iou": float(scratch["iou"].mean()), "iterations": iterations}
            row |= {name: learnt[name] for name in ("iterations_to_scratch", "reached")}
            rows.append(row)
    return pd.DataFrame(rows, columns=COLUMNS)


def overall(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the class ``all``."""
    return table[table["class"] == ALL]
