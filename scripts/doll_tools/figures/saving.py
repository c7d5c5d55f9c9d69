"""Figures as files: PNG, PDF or SVG, by the file's name; the same figure gives the same bytes."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from PIL import Image

from doll_monai.utils.atomic import write_atomic
from doll_monai.utils.errors import InputError

WIDTH = 10.0
"""Width of the figures in inches: with ``DPI`` 1300 pixels."""
DPI = 130
STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "hatch.linewidth": 0.6,
    "svg.hashsalt": "figures",
}
"""For ``matplotlib.rc_context``, around all drawing and saving."""
_NOT_WRITTEN = {
    "png": {"Software": None},
    "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
    "svg": {"Date": None, "Creator": None, "Format": None, "Type": None},
}
"""What matplotlib would write of the time and of itself, by file type."""


def check_output(output: Path, dpi: int) -> None:
    """Refuse a file that cannot be drawn, before anything is computed.

    Raises:
        InputError: for another file type than PNG, PDF and SVG, or no resolution.
    """
    if output.suffix.lower().removeprefix(".") not in _NOT_WRITTEN:
        raise InputError(f"{output.name} must end in {', '.join(f'.{kind}' for kind in _NOT_WRITTEN)}.")
    if isinstance(dpi, bool) or not isinstance(dpi, int) or not 20 <= dpi <= 1200:
        raise InputError(f"dpi must be a whole number from 20 to 1200, not {dpi}.")


def write_figure(figure: Figure, output: Path, dpi: int = DPI) -> Path:
    """Write a figure in the type that the file's name says.

    Args:
        figure: drawn within ``matplotlib.rc_context(STYLE)``.
        output: file to write.
        dpi: pixels an inch; of PDF and SVG those of the pictures in them.

    Raises:
        InputError: see ``check_output``; when the file cannot be written.
    """
    check_output(output, dpi)
    kind = output.suffix.lower().removeprefix(".")
    buffer = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(buffer, format=kind, dpi=dpi, metadata=_NOT_WRITTEN[kind])
    content = buffer.getvalue()
    write_atomic(output, _with_palette(content) if kind == "png" else content)
    return output


def _with_palette(content: bytes) -> bytes:
    """A PNG with 256 colors, a third of the size; the background, the color of its corner, stays exact."""
    picture = Image.open(io.BytesIO(content)).convert("RGB")
    small = picture.quantize(256, method=Image.Quantize.MEDIANCUT, kmeans=2, dither=Image.Dither.NONE)
    palette, corner = small.getpalette() or [], small.getpixel((0, 0))
    if isinstance(corner, int):
        palette[3 * corner : 3 * corner + 3] = picture.getpixel((0, 0))
        small.putpalette(palette)
    buffer = io.BytesIO()
    small.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
