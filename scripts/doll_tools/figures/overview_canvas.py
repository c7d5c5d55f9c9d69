"""Shapes of the overview's diagram on one canvas: panels, pictures, networks, arrows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, PathPatch, Polygon, Rectangle
from matplotlib.path import Path as Line

from doll_tools.figures.drawing import FAINT, TEXT, show

PANEL = "#F6F6F4"
Point = tuple[float, float]


class Canvas:
    """A plane of ``width`` by ``height`` units, ten of them an inch.

    Args:
        figure: an empty figure.
        width, height: in units; the figure has this size.
    """

    def __init__(self, figure: Figure, width: float, height: float) -> None:
        self.axes: Axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(0, height))
        self.axes.set_axis_off()

    def panel(self, left: float, bottom: float, width: float, height: float, title: str, color: str) -> None:
        """A rounded box with a colored number and a title: ``1 Classify``."""
        style = "round,pad=0,rounding_size=0.8"
        box = FancyBboxPatch((left, bottom), width, height, boxstyle=style, facecolor=PANEL, edgecolor="#D8D8D4")
        self.axes.add_patch(box)
        number, _, name = title.partition(" ")
        center = left + 2.3, bottom + height - 2.1
        self.axes.plot(*center, "o", color=color, markersize=16)
        self.text(center, number, size=11, weight="bold", color="white")
        self.text((left + 4.3, center[1]), name, size=11, weight="bold", align="left")

    def text(
        self,
        place: Point,
        words: str,
        size: float = 7.5,
        color: str = TEXT,
        align: str = "center",
        weight: str = "normal",
    ) -> None:
        """Words whose middle line is at a place."""
        self.axes.text(*place, words, size=size, color=color, ha=align, va="center", weight=weight, linespacing=1.15)

    def picture(
        self, center: Point, width: float, image: np.ndarray, draw: Callable[[Axes], object] | None = None
    ) -> tuple[float, float]:
        """An image with a thin frame, and what a function draws on it; its width and height."""
        height = width * image.shape[0] / image.shape[1]
        left, bottom = center[0] - width / 2, center[1] - height / 2
        inset = self.axes.inset_axes((left, bottom, width, height), transform=self.axes.transData)
        show(inset, image)
        if draw is not None:
            draw(inset)
        inset.add_patch(Rectangle((0, 0), 1, 1, fill=False, edgecolor="white", linewidth=1.5, clip_on=False))
        return width, height

    def pile(
        self,
        center: Point,
        width: float,
        images: Sequence[np.ndarray],
        draws: Sequence[Callable[[Axes], object]] = (),
        shift: float = 0.9,
    ) -> None:
        """Pictures behind each other, the first in front."""
        for number in reversed(range(len(images))):
            place = center[0] + number * shift, center[1] + number * shift
            self.picture(place, width, images[number], draws[number] if draws else None)

    def box(self, center: Point, width: float, height: float, words: str, color: str) -> None:
        """A colored box with words."""
        left, bottom = center[0] - width / 2, center[1] - height / 2
        style = "round,pad=0,rounding_size=0.5"
        self.axes.add_patch(
            FancyBboxPatch((left, bottom), width, height, boxstyle=style, facecolor="white", edgecolor=color, lw=1.4)
        )
        self.text(center, words, size=7.5)

    def arrow(self, start: Point, end: Point, color: str = FAINT, width: float = 1.4) -> None:
        """A straight arrow."""
        self.route([start, end], color, width)

    def route(self, points: Sequence[Point], color: str = FAINT, width: float = 1.4, style: str = "-") -> None:
        """A line through points, with an arrow's head at its end."""
        if len(points) > 2:
            self.axes.add_patch(PathPatch(Line(points[:-1]), fill=False, edgecolor=color, lw=width, ls=style))
        head = FancyArrowPatch(
            points[-2], points[-1], arrowstyle="-|>", mutation_scale=9, color=color, lw=width, ls=style
        )
        head.shrinkA = head.shrinkB = 0
        self.axes.add_patch(head)

    def network(self, left: float, middle: float, colors: Sequence[str], adapters: str | None = None) -> Point:
        """A segmentation network: a backbone of four narrowing blocks, a widening decoder, the head.

        Args:
            left, middle: its left end and its middle line.
            colors: of backbone, decoder and head.
            adapters: color of the small blocks between the stages; None for none.

        Returns:
            the place of its right end.
        """
        backbone, decoder, head = colors
        x = left
        for half in (4.6, 3.7, 2.8, 2.1):
            self._block(x, middle, 1.3, half, half, backbone)
            if adapters is not None:
                self._block(x + 1.32, middle, 0.5, 1.0, 1.0, adapters)
            x += 1.9
        self._block(x, middle, 3.4, 2.1, 4.2, decoder)
        if adapters is not None:
            self._block(x + 3.43, middle, 0.5, 1.0, 1.0, adapters)
        self._block(x + 4.1, middle, 0.9, 4.6, 4.6, head)
        return x + 5.0, middle

    def _block(self, left: float, middle: float, width: float, first: float, last: float, color: str) -> None:
        corners = [
            (left, middle - first),
            (left, middle + first),
            (left + width, middle + last),
            (left + width, middle - last),
        ]
        self.axes.add_patch(Polygon(corners, closed=True, facecolor=color, edgecolor="white", linewidth=0.8))
