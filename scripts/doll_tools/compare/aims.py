"""What the method promises of a few annotated images, measured over several tasks."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from doll_monai.handlers.image_scores import TEST, VALID
from doll_monai.metrics.bootstrap import RESAMPLES
from doll_monai.metrics.paired_differences import iterations_to, paired, tasks_interval
from doll_monai.networks.adapters import TUNINGS
from doll_tools.compare.measured import MeasuredTask

FULL = "full"
ADAPTERS = tuple(tuning for tuning in TUNINGS if tuning not in ("head", FULL))
LARGEST_SHARE = 0.05
"""Largest part of the parameters that an adapter and its head may train."""
HARD = ("heart", "infection")
FASTER = 0.25
SPEED = "iterations to scratch's final IoU"

Cell = tuple[str, str]


@dataclass(frozen=True)
class Names:
    """Names of the initializations in the comparisons' tables."""

    doll: str = "doll"
    classifier: str = "classifier"
    doll_backbone: str = "doll_backbone"
    scratch: str = "scratch"


@dataclass(frozen=True)
class Aim:
    """A difference of IoU that is aimed at.

    Attributes:
        row: number in the table; those of one number differ in DoLL's tuning.
        what: the comparison in words.
        first, second: cells; the difference is the first minus the second. None where there is no tuning to take.
        least: the mean difference that is aimed at.
        equal: whether a difference of exactly this, and an interval from 0 on, are enough.
        classes: the classes that count; None for all.
    """

    row: int
    what: str
    first: Cell | None
    second: Cell
    least: float = 0.0
    equal: bool = False
    classes: Collection[str] | None = None

    @property
    def target(self) -> str:
        """The aim in words."""
        if self.equal:
            return "no worse: 0 or more"
        return f"at least +{self.least:.2f}, interval above 0" if self.least else "above 0"

    def met(self, mean: float, low: float) -> dict[str, bool | None]:
        """Whether mean and lower end reach what is aimed at; None of a lower end that is not known."""
        reached = mean >= self.least if self.equal or self.least else mean > 0
        above = low >= 0 if self.equal else low > 0
        return {"mean_meets": bool(reached), "low_meets": None if math.isnan(low) else bool(above)}


def valid_means(tasks: Sequence[MeasuredTask], init: str, shots: int) -> pd.Series:
    """Mean IoU on valid images, each task of the same weight, of the tunings that every task has.

    Within a task the tunings are compared on the seeds that all of them have.
    """
    known = [{tuning for name, tuning in task.cells(shots) if name == init} for task in tasks]
    tunings = [tuning for tuning in TUNINGS if all(tuning in names for names in known)]
    means = []
    for task in tasks:
        by_seed = {
            tuning: task.scores((init, tuning), shots, VALID).groupby("seed")["iou"].mean() for tuning in tunings
        }
        means.append(pd.DataFrame(by_seed).dropna().mean())
    return pd.DataFrame(means, columns=tunings, dtype=float).mean(skipna=False).dropna()


class Aims:
    """The aims, measured on test images; DoLL's tuning is chosen on valid images, one for all tasks.

    Args:
        tasks: the comparisons.
        names: of the initializations.
        shots: number of annotated images.
        resamples: number of bootstrap draws.
    """

    def __init__(self, tasks: Sequence[MeasuredTask], names: Names, shots: int, resamples: int = RESAMPLES) -> None:
        self.tasks, self.names, self.shots, self.resamples = tasks, names, shots, resamples
        self.valid = valid_means(tasks, names.doll, shots)
        self.best = self._best(TUNINGS)
        self.adapter = self._best([tuning for tuning in ADAPTERS if self._is_small(tuning)])

    def table(self) -> pd.DataFrame:
        """A row an aim, and after the five those of the same numbers with another reading.

        Returns:
            ``row``, ``what``, ``first`` and ``second`` as ``INIT/TUNING``, ``classes``, ``shots``, ``tasks``, ``seeds``
            (the fewest of a task), ``images``; ``value``, ``low``, ``high``: the difference of the IoU with its
            interval, or for the last aim the median share of the iterations; ``target``, ``mean_meets``,
            ``low_meets``; ``reached``: trainings that reach the IoU; ``missing``: why it is not measured.
        """
        five = [*(self._difference(aim) for aim in self._aims(FULL)), self._speed(False)]
        others = [self._difference(aim) for aim in self._aims(self.best) if aim.row in (2, 3)]
        beside = [*(others if self.best not in (None, FULL) else []), self._speed(True)]
        return pd.DataFrame([{**row, "beside": number >= len(five)} for number, row in enumerate([*five, *beside])])

    def _aims(self, tuning: str | None) -> list[Aim]:
        """Args: tuning: DoLL's against classifier and doll_backbone, which are trained as a whole."""
        names, like, best = self.names, self._doll(tuning), self._doll(self.best)
        classifier, backbone, scratch, doll = (
            (init, FULL) for init in (names.classifier, names.doll_backbone, names.scratch, names.doll)
        )
        hard = f"DoLL against classifier, {' and '.join(HARD)}"
        return [
            Aim(1, "DoLL, tuning chosen on valid, against scratch", best, scratch, least=0.1),
            Aim(2, hard, like, classifier, least=0.02, classes=HARD),
            Aim(3, "DoLL against doll_backbone", like, backbone),
            Aim(4, "adapter against full, both from DoLL", self._doll(self.adapter), doll, equal=True),
        ]

    def _doll(self, tuning: str | None) -> Cell | None:
        return None if tuning is None else (self.names.doll, tuning)

    def _best(self, tunings: Collection[str]) -> str | None:
        means = self.valid[self.valid.index.isin(tunings)]
        return None if means.empty else str(means.idxmax())

    def _is_small(self, tuning: str) -> bool:
        cell = (self.names.doll, tuning)
        return tuning in self.valid and all(
            task.trainable_share(cell, self.shots) <= LARGEST_SHARE for task in self.tasks
        )

    def _difference(self, aim: Aim) -> dict[str, Any]:
        row = {
            **{"row": aim.row, "what": aim.what, "first": _name(aim.first), "second": _name(aim.second)},
            **{"classes": ",".join(aim.classes or ["all"]), "shots": self.shots, "target": aim.target},
        }
        tasks = [task for task in self.tasks if aim.classes is None or {*aim.classes} & {*task.classes}]
        absent = {*(aim.classes or ())} - {name for task in tasks for name in task.classes}
        if aim.first is None or absent:
            what = "class " + ", class ".join(sorted(absent)) if absent else f"a tuning of {self.names.doll}"
            return {**row, "missing": f"{what} in every task" if not absent else what}
        cells = (aim.first, aim.second)
        pairs = [self._pair(task, *cells, aim.classes) for task in tasks]
        missing = [self._absent(task, cells) for task, pair in zip(tasks, pairs, strict=True) if pair.empty]
        if missing:
            return {**row, "missing": "; ".join(missing)}
        mean, low, high = tasks_interval(pairs, "iou", self.resamples)
        counts = {
            "tasks": ",".join(task.name for task in tasks),
            "seeds": min(pair["seed"].nunique() for pair in pairs),
            "images": sum(pair["image"].nunique() for pair in pairs),
        }
        return {**row, **counts, "value": mean, "low": low, "high": high, **aim.met(mean, low)}

    def _pair(self, task: MeasuredTask, first: Cell, second: Cell, classes: Collection[str] | None) -> pd.DataFrame:
        """Differences in IoU on test images, a row a seed and image."""
        of_first, of_second = (task.scores(cell, self.shots, TEST, classes) for cell in (first, second))
        return paired(of_first, of_second, "iou")

    def _absent(self, task: MeasuredTask, cells: Sequence[Cell]) -> str:
        names = [_name(cell) for cell in cells if cell not in task.cells(self.shots)]
        return f"{task.name}: {', '.join(names) or 'a seed that both have'}"

    def _speed(self, own: bool) -> dict[str, Any]:
        """Args: own: whether iterations are a share of those that scratch needs to that IoU, not of all."""
        first, second = self._doll(self.best), (self.names.scratch, FULL)
        what = f"{SPEED}, share of those that scratch needs to first reach it" if own else f"{SPEED}, share of all"
        row = {
            **{"row": 5, "what": what, "first": _name(first), "second": _name(second), "classes": "all"},
            **{"shots": self.shots, "target": f"at most {FASTER:.2f}"},
        }
        if first is None:
            return {**row, "missing": f"a tuning of {self.names.doll} in every task"}
        shares, missing, seeds = [], [], []
        for task in self.tasks:
            curves, scratch = (task.curves_of(cell, self.shots) for cell in (first, second))
            both = sorted(curves.keys() & scratch.keys())
            seeds.append(len(both))
            missing += [] if both else [self._absent(task, (first, second))]
            shares += [share_of_iterations(curves[seed], scratch[seed], own) for seed in both]
        if missing:
            return {**row, "missing": "; ".join(missing)}
        median = float(np.median(shares))
        counts = {"tasks": ",".join(task.name for task in self.tasks), "seeds": min(seeds)}
        reached = f"{int(np.isfinite(shares).sum())} of {len(shares)}"
        return {**row, **counts, "value": median, "mean_meets": median <= FASTER, "reached": reached}


def share_of_iterations(curve: pd.DataFrame, scratch: pd.DataFrame, own: bool = False) -> float:
    """Iterations until a curve is at the last IoU of that of scratch, as a share of scratch's own.

    Args:
        curve, scratch: ``iteration`` and ``iou``, in their order.
        own: whether scratch's own are those until it was at that IoU for the first time, not all of them.

    Returns:
        the share; infinity when the IoU is never reached.
    """
    goal = float(scratch["iou"].iloc[-1])
    needed = iterations_to(curve, goal)
    all_of_scratch = iterations_to(scratch, goal) if own else float(scratch["iteration"].iloc[-1])
    return math.inf if math.isnan(needed) else needed / all_of_scratch


def _name(cell: Cell | None) -> str:
    return "" if cell is None else "/".join(cell)
