"""A picture beside each prediction, to see at a glance what was found."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence

import numpy as np
from ignite.engine import Engine, Events
from matplotlib import colormaps
from monai.data.utils import create_file_basename
from monai.utils import CommonKeys
from PIL import Image, ImageDraw

from doll_monai.handlers.engine import batch_of, output_of
from doll_monai.utils.atomic import write_atomic
from doll_monai.visualize.pictures import outline, read_image

OKABE_ITO = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (204, 121, 167), (213, 94, 0), (0, 114, 178))
"""Colors that color-blind readers tell apart (Okabe and Ito, 2008)."""
LINE = 16
"""Height of a line of the legend, in pixels."""


class OverlayWriter:
    """Writes ``IMAGE_overlay.png`` for each image: the regions of each class outlined in its color, with a legend.

    The picture has the image's own proportions, and ``size`` pixels on its longer side; an image without any region is
    drawn bare.

    Args:
        output_dir: folder, in which the images' own folders are repeated.
        data_root_dir: folder of the images.
        classes: names of the channels of ``pred``, which is 0 and 1 in the image's own geometry.
        size: longer side of the pictures.
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
            if picture is None:
                continue
            masks = np.asarray(result[CommonKeys.PRED].cpu()).transpose(0, 2, 1) > 0.5
            name = create_file_basename("overlay", path, self.output_dir, self.data_root_dir, separate_folder=False)
            write_atomic(f"{name}.png", draw_overlay(picture, masks, self.classes))


def draw_overlay(image: np.ndarray, masks: np.ndarray, classes: Sequence[str]) -> bytes:
    """A PNG of an image with outlined regions and, below it, the names of the classes that have one.

    Args:
        image: (H, W, 3) ``uint8``.
        masks: (T, h, w) bool, of any size.
        classes: names of the T channels.
    """
    colors = OKABE_ITO if len(classes) <= len(OKABE_ITO) else _many(len(classes))
    found = [number for number, mask in enumerate(masks) if mask.any()]
    for number in found:
        image = outline(image, masks[number], colors[number])
    canvas = Image.new("RGB", (image.shape[1], image.shape[0] + LINE * len(found)))
    canvas.paste(Image.fromarray(image))
    draw = ImageDraw.Draw(canvas)
    for line, number in enumerate(found):
        draw.text((4, image.shape[0] + LINE * line + 1), classes[number], fill=colors[number])
    buffer = io.BytesIO()
    canvas.save(buffer, "PNG")
    return buffer.getvalue()


def _many(count: int) -> tuple[tuple[int, int, int], ...]:
    chosen = (colormaps["tab20"](number % 20)[:3] for number in range(count))
    return tuple((round(255 * r), round(255 * g), round(255 * b)) for r, g, b in chosen)
