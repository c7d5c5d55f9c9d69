"""A picture beside each prediction, to see at a glance what was found."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from ignite.engine import Engine, Events
from monai.data.utils import create_file_basename
from monai.utils import CommonKeys

from doll_monai.handlers.engine import batch_of, output_of
from doll_monai.transforms.pictures import read_image
from doll_monai.utils.atomic import write_atomic
from doll_monai.visualize.pictures import captioned, class_colors, encoded, outline


class OverlayWriter:
    """Writes ``IMAGE_overlay.png`` for each image: the regions of each class outlined in its color, with a legend.

    The picture has the image's own proportions; an image without any region is drawn bare.

    Args:
        output_dir: folder, in which the images' own folders are repeated.
        data_root_dir: folder of the images.
        classes: names of the channels of ``pred``, which is 0 and 1 in the image's own geometry.
        size: longer side of the pictures, in pixels.
        enabled: false writes none.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike,
        data_root_dir: str | os.PathLike,
        classes: Sequence[str],
        size: int = 768,
        enabled: bool = True,
    ) -> None:
        self.output_dir = output_dir
        self.data_root_dir = data_root_dir
        self.classes = list(classes)
        self.size = size
        self.enabled = enabled

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator whose post-processing brings predictions back to the images' geometry."""
        if self.enabled:
            engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        for image, result in zip(batch_of(engine), output_of(engine), strict=True):
            path = image[CommonKeys.IMAGE].meta["filename_or_obj"]
            picture = read_image(path, self.size)
            if picture is not None:
                masks = np.asarray(result[CommonKeys.PRED].cpu()).transpose(0, 2, 1) > 0.5
                name = create_file_basename("overlay", path, self.output_dir, self.data_root_dir, separate_folder=False)
                write_atomic(f"{name}.png", encoded(draw_overlay(picture, masks, self.classes)))


def draw_overlay(image: np.ndarray, masks: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """A picture with outlined regions and, below it, the names of the classes that have one.

    Args:
        image: (H, W, 3) ``uint8``.
        masks: (T, h, w) bool, of any size.
        classes: names of the T channels.
    """
    found = [
        (name, mask, color)
        for name, mask, color in zip(classes, masks, class_colors(len(classes)), strict=True)
        if mask.any()
    ]
    for _, mask, color in found:
        image = outline(image, mask, color)
    return captioned(image, [(name, color) for name, _, color in found])
