"""Gain against label quality, a line a number of films."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from doll_tools.compare.curves import COLOURS, render
from doll_tools.pretraining_gain.gain import overall

APART = 0.006
"""Distance of the bars of neighbouring numbers of films at the same quality."""


def draw_gain(table: pd.DataFrame, formats: Sequence[str] = ("png", "svg")) -> dict[str, bytes]:
    """A panel for each tuning and number of shots; bars are 95 % intervals.

    Labels made elsewhere stand as single diamonds beside the lines.

    Args:
        table: of ``gain_table``.
        formats: file types.

    Returns:
        file type to content.
    """
    rows = overall(table)
    panels = list(rows.groupby(["tuning", "shots"], sort=False))
    figure = Figure(figsize=(max(4.2 * len(panels), 5), 3.8), layout="constrained")
    first: Axes | None = None
    for number, (key, part) in enumerate(panels, start=1):
        axes = figure.add_subplot(1, len(panels), number, sharey=first)
        first = first or axes
        tuning, shots = str(key[0]), int(str(key[1]))
        _draw(axes, part, sorted(map(int, rows["films"].unique())))
        title = f"{shots} annotated film{'s' * (shots > 1)}, {tuning} fine-tuning"
        axes.set(title=title, xlabel="label quality (IoU with the truth)")
    if first is not None:
        first.set_ylabel("gain in IoU over scratch")
    return render(figure, first, formats)


def _draw(axes: Axes, rows: pd.DataFrame, counts: Sequence[int]) -> None:
    axes.axhline(0, color="#888888", linewidth=0.8)
    for number, count in enumerate(counts):
        colour = COLOURS[number % len(COLOURS)]
        offset = APART * (number - (len(counts) - 1) / 2)
        part = rows[rows["films"] == count].sort_values("quality")
        elsewhere = part["quality_wanted"] == ""
        for members, style in ((part[~elsewhere], "o-"), (part[elsewhere], "D")):
            if len(members):
                label = f"{count} films" + ("" if style == "o-" else ", labels made elsewhere")
                ends = np.abs(members[["gain_low", "gain_high"]].to_numpy().T - members["gain"].to_numpy())
                axes.errorbar(
                    members["quality"] + offset,
                    members["gain"],
                    yerr=np.nan_to_num(ends),
                    fmt=style,
                    color=colour,
                    markersize=4,
                    capsize=2,
                    linewidth=1.2,
                    label=label,
                )
