"""Pictures in the grid in which viewers show them."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

MAX_PIXELS = 100_000_000
"""Pixels of an image at the most: detectors of today have up to about 30 million, scanners of image fewer."""
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "GIF", "PPM", "WEBP")
"""Pillow's names of what is taken for a picture; it hands some of the others to whatever program is installed."""
ORIENTATION = 274
"""EXIF's and TIFF's tag."""
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What each orientation other than 1 asks of a viewer."""


@contextmanager
def open_picture(path: str | os.PathLike[str]) -> Iterator[Image.Image]:
    """A picture file by Pillow, its pixels not decoded yet.

    Pillow gets the bytes, not the name: an uncompressed TIFF that it opens by name and that lies on its side comes out
    garbled (seen in 13.0), and a damaged length in a PNG has it ask for as much memory as the length says.
    """
    with Image.open(io.BytesIO(Path(path).read_bytes()), formats=FORMATS) as picture:
        yield picture


def upright(picture: Image.Image, exif: Image.Exif | None = None) -> Image.Image:
    """A picture with the orientation applied that its EXIF data or TIFF tag asks for.

    This, the displayed grid, is where people draw masks and boxes, so it is the grid of images, masks and predictions.

    Args:
        picture: as stored.
        exif: where its orientation stands; in the picture itself by default.
    """
    picture.load()  # Pillow turns a TIFF itself, and takes the orientation out of what it says then
    turn = TURNS.get((picture.getexif() if exif is None else exif).get(ORIENTATION, 1))
    return picture if turn is None else picture.transpose(turn)
