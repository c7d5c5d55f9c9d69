"""Inline SVG that takes the colors of the page's text, in light and in dark."""

from __future__ import annotations

import io
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

TEXT, ACCENT = "#010203", "#010204"
"""Colors that ``svg`` replaces by the page's own, which change with light and dark."""
ORANGE, SKY, GREEN, VERMILLION, PURPLE = "#E69F00", "#56B4E9", "#009E73", "#D55E00", "#CC79A7"
"""Of the color-blind-safe palette of Okabe and Ito (2008)."""
STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": TEXT,
    "axes.labelcolor": TEXT,
    "axes.linewidth": 0.6,
    "xtick.color": TEXT,
    "ytick.color": TEXT,
    "text.color": TEXT,
}


def svg(figure: Figure, text: str) -> str:
    """A figure as an ``<svg>`` element without background, in the page's colors.

    Args:
        figure: drawn with ``STYLE``.
        text: what a reader who does not see it is told; it must differ from figure to figure of a page.
    """
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": text}):
        empty = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=empty)
    drawing = buffer.getvalue()
    drawing = drawing[drawing.index("<svg") :].replace(TEXT, "currentColor").replace(ACCENT, "var(--accent)")
    label = text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return drawing.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)


def thinned(count: int, points: int) -> np.ndarray:
    """Indices of at most ``points`` of ``count`` values, evenly spread, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, points).round().astype(int))
