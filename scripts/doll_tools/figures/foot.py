"""The foot of a figure: its legend and a line that says what the pictures are."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from doll_tools.figures.drawing import FAINT
from doll_tools.figures.saving import WIDTH

LEGEND, LINE, EDGE = 0.27, 0.14, 0.05
"""Heights in inches of the legend, of a line of the note, and of the space below."""


def figure_with_foot(height: float, note: str, wspace: float = 0.02) -> Figure:
    """An empty figure whose panels leave room for ``draw_foot``.

    Args:
        height: of the panels, in inches.
        note: that will stand in the foot.
        wspace: between panels, as a share of their width.
    """
    foot = LEGEND + _note_height(note)
    total = height + foot
    layout = ConstrainedLayoutEngine(rect=(0, foot / total, 1, height / total), wspace=wspace)
    return Figure(figsize=(WIDTH, total), layout=layout)


def draw_foot(figure: Figure, marks: Sequence[Artist], note: str, length: float = 2) -> None:
    """Draw the legend of marks that have labels, and the note below.

    Args:
        figure: of ``figure_with_foot``.
        marks: in their order.
        note: lines of text, or nothing.
        length: of a mark in the legend, in letters.
    """
    height = figure.get_figheight()
    figure.legend(
        handles=list(marks),
        loc="lower center",
        bbox_to_anchor=(0.5, (_note_height(note) - 0.04) / height),
        borderaxespad=0,
        ncols=len(marks),
        fontsize=9,
        frameon=False,
        handlelength=length,
    )
    figure.text(0.5, EDGE / height, note, ha="center", va="bottom", size=7, color=FAINT)


def _note_height(note: str) -> float:
    return EDGE + LINE * len(note.splitlines())
