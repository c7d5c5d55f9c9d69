"""How the quality of the labels is spread: over all pairs, and observation by observation."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from doll_monai.findings import FINDINGS
from doll_tools.report.drawing import ACCENT, STYLE, TEXT, svg
from doll_tools.report.figures import Curve
from doll_tools.report.pairs import COLUMNS, TABLE
from doll_tools.report.run_folder import RunFolder

MEASURES = {
    "completeness_error": ("Completeness error", "0 is best"),
    "agreement": ("Agreement of the members", "rank correlation of their maps; 1 is best, 0 is chance"),
}
"""Columns of the table of labels to title and how to read them."""
BINS = 40
TAIL = 99.0
"""Percentile at which the axis ends: a few explanations that failed would hide all others."""


def distributions(folder: RunFolder) -> list[Curve]:
    """A histogram of all pairs, and a box for each observation, of each measure that the table of labels has."""
    table = folder.table(TABLE, COLUMNS)
    if table is None:
        return []
    drawn = []
    for column, (title, reading) in MEASURES.items():
        if column not in table:
            continue
        known = table[np.isfinite(table[column].astype(float))]
        values = known[column].to_numpy(dtype=float)
        if not len(values):
            continue
        ends = (min(0.0, float(values.min())), max(float(np.percentile(values, TAIL)), 1e-6))
        quartiles = np.percentile(values, (25, 50, 75))
        caption = (
            f"median {quartiles[1]:.3f}, half of the {len(values):,} pairs from {quartiles[0]:.3f} to "
            f"{quartiles[2]:.3f}; {reading}"
        )
        beyond = int((values > ends[1]).sum())
        caption += f"; {beyond} beyond the right end" if beyond else ""
        drawn.append(Curve(_histogram(values, ends, f"Histogram of {title.lower()}: {caption}"), title, caption))
        parts = {name: known.loc[known["observation"] == name, column].to_numpy(dtype=float) for name in FINDINGS}
        parts = {name: part for name, part in parts.items() if len(part)}
        medians = ", ".join(f"{name} {np.median(part):.3f}" for name, part in parts.items())
        text = f"{title} by observation, medians: {medians}"
        caption = "box: quartiles and median; whiskers: 5th and 95th percentile; number of pairs"
        drawn.append(Curve(_boxes(parts, ends, text), f"{title} by observation", caption))
    return drawn


def _histogram(values: np.ndarray, ends: tuple[float, float], text: str) -> str:
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.4, 2.2), layout="constrained")
        axes = figure.add_subplot(xlim=ends, ylabel="pairs")
        axes.hist(values, bins=BINS, range=ends, color=ACCENT)
        axes.axvline(float(np.median(values)), color=TEXT, linewidth=1, linestyle="--")
        return svg(figure, text)


def _boxes(parts: dict[str, np.ndarray], ends: tuple[float, float], text: str) -> str:
    names: Sequence[str] = [f"{name} ({len(part)})" for name, part in parts.items()]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.4, 0.6 + 0.17 * len(parts)), layout="constrained")
        axes = figure.add_subplot(xlim=ends)
        line = {"color": TEXT, "linewidth": 0.7}
        axes.boxplot(
            list(parts.values()),
            orientation="horizontal",
            widths=0.6,
            whis=(5, 95),
            showfliers=False,
            patch_artist=True,
            boxprops={"facecolor": ACCENT, "edgecolor": "none", "alpha": 0.75},
            medianprops={"color": TEXT, "linewidth": 1.4},
            whiskerprops=line,
            capprops=line,
        )
        axes.set_yticks(range(1, len(names) + 1), names)
        axes.invert_yaxis()
        axes.tick_params(axis="y", length=0)
        return svg(figure, text)
