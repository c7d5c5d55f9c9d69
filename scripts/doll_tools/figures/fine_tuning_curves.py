"""Validation mIoU during fine-tuning on a few images: a panel a task, a line a start."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from doll_monai.utils.errors import InputError
from doll_tools.compare.measured import MeasuredTask
from doll_tools.compare.starts import KNOWN
from doll_tools.figures.drawing import BLACK, BLUE, ORANGE, VERMILLION
from doll_tools.figures.foot import draw_foot, figure_with_foot
from doll_tools.figures.saving import STYLE

START_NAMES = {
    "scratch": "from scratch",
    "classifier": "classifier's backbone",
    "doll_backbone": "DoLL, backbone only",
    "doll": "DoLL, end to end",
}
_LOOKS = dict(zip(KNOWN, ((BLACK, ":"), (ORANGE, "-."), (BLUE, "--"), (VERMILLION, "-")), strict=True))


def only_shots(task: MeasuredTask, tuning: str, shots: int | None = None) -> int:
    """The number of annotated images that is drawn: the given one, or the only one.

    Raises:
        InputError: when there are several and none is given, or the comparison has none of that tuning.
    """
    known = sorted(map(int, task.curves.loc[task.curves["tuning"] == tuning, "shots"].unique()))
    if shots is None and len(known) == 1:
        return known[0]
    if shots in known:
        return int(shots)
    numbers = ", ".join(map(str, known))
    if not known:
        raise InputError(f"The comparison of {task.name} has no cell with the tuning {tuning}.")
    if shots is None:
        raise InputError(f"The comparison of {task.name} has several numbers of images; give --shots one of {numbers}.")
    raise InputError(f"The comparison of {task.name} has no cell with {shots} images and {tuning}, but with {numbers}.")


def mean_curves(task: MeasuredTask, tuning: str, shots: int) -> dict[str, pd.DataFrame]:
    """Start to its curve over seeds.

    Args:
        task: the comparison.
        tuning, shots: of the cells that are drawn.

    Returns:
        tables with ``iteration``, ``mean``, ``min`` and ``max`` of the seeds' IoU on valid images, and ``seeds``, their
        number; the known starts in their order.
    """
    rows = task.curves[(task.curves["tuning"] == tuning) & (task.curves["shots"] == shots)]
    curves = {}
    for init in (name for name in KNOWN if name in set(rows["init"])):
        part = rows[rows["init"] == init].groupby("iteration")["iou"]
        curves[init] = part.agg(["mean", "min", "max"]).assign(seeds=part.count()).reset_index()
    return curves


def draw_fine_tuning_curves(
    tasks: Sequence[MeasuredTask], tuning: str = "full", shots: int | None = None, note: str = ""
) -> Figure:
    """The figure: lines are means over seeds, bands go from the lowest to the highest seed.

    Args:
        tasks: a panel each.
        tuning, shots: see ``only_shots``.
        note: line below.

    Raises:
        InputError: see ``only_shots``.
    """
    with matplotlib.rc_context(STYLE):
        figure = figure_with_foot(3.2, note, wspace=0.04)
        handles: dict[str, Line2D] = {}
        for number, task in enumerate(tasks, start=1):
            axes = figure.add_subplot(1, len(tasks), number)
            count = only_shots(task, tuning, shots)
            curves = mean_curves(task, tuning, count)
            for init, curve in curves.items():
                handles.setdefault(init, _draw(axes, init, curve))
            numbers = sorted({int(seen) for curve in curves.values() for seen in curve["seeds"]})
            seeds = " to ".join(map(str, dict.fromkeys((numbers[0], numbers[-1]))))
            axes.set_title(
                f"{', '.join(task.classes)}\n{count} annotated image{'s' * (count > 1)}, "
                f"{seeds} seed{'s' * (numbers[-1] > 1)}",
                fontsize=9,
            )
            axes.set_xlabel("iteration of fine-tuning")
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            axes.set_xlim(left=0)
            axes.grid(axis="y", linewidth=0.4, color="#DDDDDD")
            if number == 1:
                axes.set_ylabel("mIoU on validation images")
        draw_foot(figure, list(handles.values()), note, length=3)
    return figure


def _draw(axes: Axes, init: str, curve: pd.DataFrame) -> Line2D:
    color, style = _LOOKS[init]
    axes.fill_between(curve["iteration"], curve["min"], curve["max"], color=color, alpha=0.12, linewidth=0)
    return axes.plot(curve["iteration"], curve["mean"], style, color=color, linewidth=1.6, label=START_NAMES[init])[0]
