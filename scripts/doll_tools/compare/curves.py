"""Learning curves: IoU on valid images by iteration; also for the report and the figures."""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

COLORS = {"scratch": "#000000", "classifier": "#E69F00", "doll_backbone": "#56B4E9", "doll": "#0072B2"}
OTHERS = ("#009E73", "#D55E00", "#CC79A7")
"""Of initializations; the color-blind-safe palette of Okabe and Ito (2008)."""
LINES = ("-", "--", ":", "-.")
"""One a tuning."""
CELL = ["initialization", "tuning"]
UNSTABLE = {
    "png": ["Software"],
    "svg": ["Date", "Creator", "Format", "Type"],
    "pdf": ["Creator", "Producer", "CreationDate"],
}
"""What matplotlib would write of the time and of itself, by file type."""


def looks(table: pd.DataFrame, colors: Mapping[str, str] = COLORS) -> dict[tuple[str, str], dict[str, Any]]:
    """Color and line of each initialization and tuning of a table."""
    cells = list(table[CELL].astype(str).drop_duplicates().itertuples(index=False, name=None))
    others = dict.fromkeys(name for name, _ in cells if name not in colors)
    known = {**colors, **dict(zip(others, itertools.cycle(OTHERS), strict=False))}
    lines = dict(zip(dict.fromkeys(tuning for _, tuning in cells), itertools.cycle(LINES), strict=False))
    return {(name, tuning): {"color": known[name], "linestyle": lines[tuning]} for name, tuning in cells}


def draw_legend(figure: Figure, cells: Mapping[tuple[str, str], Mapping[str, Any]], columns: int = 4) -> None:
    """A legend of ``looks`` below the figure."""
    handles = [Line2D([], [], label="/".join(cell), **look) for cell, look in cells.items()]
    columns = min(len(handles), columns)
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=8, frameon=False)


def draw_curves(panels: Mapping[str, pd.DataFrame], colors: Mapping[str, str] = COLORS, columns: int = 4) -> Figure:
    """A panel for each title's ``initialization``, ``tuning``, ``seed``, ``iteration``, ``iou``; lines are means over
    seeds, bands go from the lowest to the highest seed. The legend has so many columns at most."""
    figure = Figure(figsize=(3.6 * len(panels), 3.2), layout="constrained")
    cells = looks(pd.concat(panels.values()), colors)
    for number, (title, curves) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(1, len(panels), number, xlabel="iteration", title=title)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        for key, part in curves.groupby(CELL, sort=False):
            look = cells[str(key[0]), str(key[1])]
            iou = part.groupby("iteration")["iou"].agg(["mean", "min", "max"])
            axes.plot(iou.index, iou["mean"], **look)
            axes.fill_between(iou.index, iou["min"], iou["max"], color=look["color"], alpha=0.1, linewidth=0)
    figure.axes[0].set_ylabel("IoU, valid images")
    draw_legend(figure, cells, columns)
    return figure


def rendered(
    figure: Figure, kinds: Sequence[str], dpi: int = 130, salt: str = "curves", **options: Any
) -> dict[str, bytes]:
    """File type (png, svg, pdf) to content; the same bytes for the same figure, salt (of ids in SVG) and options."""
    contents = {}
    with matplotlib.rc_context({"svg.hashsalt": salt}):
        for kind in kinds:
            metadata: Any = dict.fromkeys(UNSTABLE[kind])
            figure.savefig(buffer := io.BytesIO(), format=kind, dpi=dpi, metadata=metadata, **options)
            contents[kind] = buffer.getvalue()
    return contents
