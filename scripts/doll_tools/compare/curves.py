"""Learning curves: IoU on valid images by iteration."""

from __future__ import annotations

import io
from collections.abc import Sequence

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLORS = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7", "#F0E442")
"""One an initialization; the color-blind-safe palette of Okabe and Ito (2008)."""
LINES = ("-", "--", ":", "-.")
"""One a tuning."""


def draw_curves(curves: pd.DataFrame, formats: Sequence[str] = ("png", "svg")) -> dict[str, bytes]:
    """A panel for each number of shots; lines are means over seeds, bands go from the lowest to the highest seed.

    Args:
        curves: ``init``, ``tuning``, ``shots``, ``seed``, ``iteration``, ``iou``.
        formats: file types.

    Returns:
        file type to content.
    """
    shots = sorted(map(int, curves["shots"].unique()))
    figure = Figure(figsize=(max(3.4 * len(shots), 5), 3.6), layout="constrained")
    first: Axes | None = None
    for number, count in enumerate(shots, start=1):
        axes = figure.add_subplot(1, len(shots), number, sharey=first)
        first = first or axes
        _draw(axes, curves[curves["shots"] == count], list(curves["init"].unique()), list(curves["tuning"].unique()))
        axes.set(title=f"{count} annotated image{'s' * (count > 1)}", xlabel="iteration")
    if first is not None:
        first.set_ylabel("IoU, valid images")
    return render(figure, first, formats)


def render(figure: Figure, first: Axes | None, formats: Sequence[str]) -> dict[str, bytes]:
    """A figure with the legend of its first panel below; the same bytes for the same figure.

    Returns:
        file type to content.
    """
    if first is not None:
        handles, names = first.get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=min(len(names), 4), fontsize=8, frameon=False)
    with matplotlib.rc_context({"svg.hashsalt": "curves"}):
        return {kind: _content(figure, kind) for kind in formats}


def _draw(axes: Axes, curves: pd.DataFrame, inits: list[str], tunings: list[str]) -> None:
    for key, part in curves.groupby(["init", "tuning"], sort=False):
        init, tuning = map(str, key)
        by_iteration = part.groupby("iteration")["iou"].agg(["mean", "min", "max"])
        color = COLORS[inits.index(init) % len(COLORS)]
        style = LINES[tunings.index(tuning) % len(LINES)]
        axes.plot(by_iteration.index, by_iteration["mean"], style, color=color, label=f"{init}/{tuning}")
        axes.fill_between(by_iteration.index, by_iteration["min"], by_iteration["max"], color=color, alpha=0.1)


def _content(figure: Figure, kind: str) -> bytes:
    buffer = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else {"Software": None}
    figure.savefig(buffer, format=kind, dpi=130, metadata=metadata)
    return buffer.getvalue()
