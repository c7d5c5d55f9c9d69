"""JSRT's raw images for ``LoadImage``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from monai.config import PathLike
from monai.data import ImageReader
from monai.utils import MetaKeys, SpaceKeys, ensure_tuple

from doll_monai.data.jsrt_image import image_affine, is_raw_image, read_raw_image


class JsrtReader(ImageReader):
    """Read raw ``.IMG`` images of JSRT: bone bright, width first as ``PILReader`` has it, 0.175 mm a pixel.

    Several files are stacked as channels. An ``.img`` with a ``.hdr`` beside it is an Analyze image and left to others.
    """

    def verify_suffix(self, filename: Sequence[PathLike] | PathLike) -> bool:
        """Whether all files are raw images by their names."""
        return all(is_raw_image(os.fspath(name)) for name in ensure_tuple(filename))

    def read(self, data: Sequence[PathLike] | PathLike, **kwargs: Any) -> list[np.ndarray]:
        """The images, each (H, W) uint16; see ``read_raw_image`` for what is raised."""
        return [read_raw_image(os.fspath(name)) for name in ensure_tuple(data)]

    def get_data(self, img: Sequence[np.ndarray]) -> tuple[np.ndarray, dict]:
        """Images and their metadata.

        Args:
            img: what ``read`` gave.

        Returns:
            (W, H), or (files, W, H) for several; and the metadata.
        """
        images = [image.T for image in img]
        meta: dict[str, Any] = {
            MetaKeys.AFFINE: image_affine(),
            MetaKeys.ORIGINAL_AFFINE: image_affine(),
            MetaKeys.SPACE: SpaceKeys.RAS,
            MetaKeys.SPATIAL_SHAPE: np.asarray(images[0].shape),
            MetaKeys.ORIGINAL_CHANNEL_DIM: float("nan") if len(images) == 1 else 0,
        }
        return (images[0] if len(images) == 1 else np.stack(images)), meta
