"""Picture files by Pillow, in the grid in which viewers show them."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, ImageOps

MAX_PIXELS = 100_000_000
"""Pixels of an image at the most: detectors of today have up to about 30 million."""
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "GIF", "PPM", "WEBP")
"""Pillow's names of what is taken for a picture; it hands some of the others to whatever program is installed."""
ORIENTATION = 274
"""EXIF's and TIFF's tag."""


@contextmanager
def open_picture(path: str | os.PathLike[str]) -> Iterator[Image.Image]:
    """A picture file, its pixels not decoded yet.

    Pillow gets the bytes, not the name: an uncompressed TIFF that it opens by name and that lies on its side comes out
    garbled (seen in 13.0), and a damaged length in a PNG has it ask for as much memory as the length says.
    """
    with Image.open(io.BytesIO(Path(path).read_bytes()), formats=FORMATS) as picture:
        yield picture


def upright(picture: Image.Image) -> Image.Image:
    """A picture turned as its EXIF data or TIFF tag say: the grid in which people draw masks and boxes."""
    return ImageOps.exif_transpose(picture)
