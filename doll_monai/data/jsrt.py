"""JSRT's raw images (Shiraishi et al. 2000): 2048 x 2048, 12 bit, big-endian, without a header.

The database's page (db.jsrt.or.jp) gives size, depth, byte order and the 0.175 mm of a pixel. Large numbers stand for
dark; radiographs elsewhere show bone bright, so values are turned round.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import ImageReader
from monai.utils import MetaKeys, SpaceKeys, ensure_tuple

SIDE = 2048
"""Pixels of an image's width and height."""
SPACING = 0.175
"""Width and height of a pixel in mm."""
LARGEST = 4095
"""Largest value of 12 bits."""


def is_raw_image(path: str | os.PathLike[str]) -> bool:
    """Whether a file's name is that of a raw image: ``.IMG``, in any case, without the ``.hdr`` of an Analyze image."""
    path = Path(path)
    return path.suffix.lower() == ".img" and not any(path.with_suffix(suffix).exists() for suffix in (".hdr", ".HDR"))


def read_raw_image(path: str | os.PathLike[str]) -> np.ndarray:
    """An image with bone bright, (H, W) ``uint16`` in 0 ... 4095: 4095 minus what is in the file.

    Raises:
        OSError: when the file is missing, its length is not that of an image, or a value has more than 12 bits.
    """
    length = os.path.getsize(path)
    if length != 2 * SIDE * SIDE:
        raise OSError(f"it has {length} bytes, a raw image of JSRT {2 * SIDE * SIDE}")
    values = np.fromfile(path, dtype=">u2")
    if int(values.max()) > LARGEST:
        raise OSError(f"it has values above {LARGEST}, so it is not of 12 bits or not big-endian")
    return np.uint16(LARGEST) - values.reshape(SIDE, SIDE).astype(np.uint16)


def image_affine() -> np.ndarray:
    """The affine of an image and of its label, (4, 4): 0.175 mm a pixel."""
    return np.diag([SPACING, SPACING, 1.0, 1.0])


class JsrtReader(ImageReader):
    """Read a raw image for ``LoadImage``, width first as ``PILReader`` has it."""

    def verify_suffix(self, filename: Any) -> bool:
        """Whether all files are raw images by their names."""
        return all(is_raw_image(os.fspath(name)) for name in ensure_tuple(filename))

    def read(self, data: Any, **kwargs: Any) -> np.ndarray:
        """The one image of the files, (H, W); see ``read_raw_image``."""
        (path,) = ensure_tuple(data)
        return read_raw_image(path)

    def get_data(self, img: np.ndarray) -> tuple[np.ndarray, dict]:
        """The image, (W, H), and its metadata."""
        return img.T, {
            MetaKeys.AFFINE: image_affine(),
            MetaKeys.ORIGINAL_AFFINE: image_affine(),
            MetaKeys.SPACE: SpaceKeys.RAS,
            MetaKeys.SPATIAL_SHAPE: np.asarray(img.T.shape),
            MetaKeys.ORIGINAL_CHANNEL_DIM: float("nan"),
        }
