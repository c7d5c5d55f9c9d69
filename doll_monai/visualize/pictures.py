"""Drawing on radiographs: outlines of masks, captions, and pictures as files.

A picture is (H, W, 3) ``uint8``: rows first, as Pillow and viewers have it, where MONAI puts the width first.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageOps
from skimage.exposure import rescale_intensity
from skimage.segmentation import find_boundaries

from doll_monai.findings import FOREGROUND

Color = tuple[int, int, int]
OKABE_ITO: tuple[Color, ...] = (
    *((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66)),
    *((204, 121, 167), (213, 94, 0), (0, 114, 178)),
)
"""Colors that color-blind readers tell apart (Okabe and Ito, 2008)."""
LABEL_COLOR, TRUTH_COLOR = OKABE_ITO[:2]
"""Orange for labels and predictions, sky blue for the ground truth."""
PICTURE_SIZE = 240
LINE = 16  # height of a line of a caption, in pixels


def class_colors(count: int) -> tuple[Color, ...]:
    """A color of its own for each of ``count`` classes; of Okabe and Ito as far as they reach."""
    if count <= len(OKABE_ITO):
        return OKABE_ITO[:count]
    wheel = (f"hsv({360 * number // count}, {60 + 40 * (number % 2)}%, 100%)" for number in range(count))
    return tuple(ImageColor.getrgb(color)[:3] for color in wheel)


def gray_picture(values: np.ndarray, side: int = PICTURE_SIZE) -> np.ndarray:
    """An image (W, H) of any range as a picture, its longer side ``side``, gray from its 1st to its 99th percentile."""
    low, high = np.percentile(values, (1, 99))
    gray = rescale_intensity(values.T, (low, high), (0, 255)).astype(np.uint8)
    return np.array(ImageOps.contain(Image.fromarray(gray), (side, side), Image.Resampling.BILINEAR).convert("RGB"))


def outline(image: np.ndarray, mask: np.ndarray, color: Color, dashed: bool = False) -> np.ndarray:
    """A picture with a mask (h, w), enlarged to its size, outlined; dashed where two outlines may coincide."""
    edge = find_boundaries(np.pad(fitted(mask, image), 1))[1:-1, 1:-1]
    if dashed:
        row, column = np.indices(edge.shape)
        edge &= (row + column) % 12 < 7
    drawn = image.copy()
    drawn[edge] = color
    return drawn


def outlines(image: np.ndarray, masks: np.ndarray, color: Color, dashed: bool = False) -> np.ndarray:
    """A picture with the foreground of each channel of a label (T, h, w) outlined."""
    for mask in masks:
        image = outline(image, mask == FOREGROUND, color, dashed)
    return image


def compared(image: np.ndarray, truth: np.ndarray | None, prediction: np.ndarray) -> np.ndarray:
    """A picture with ground truth in blue and prediction dashed in orange, (T, w, h) each, width first."""
    if truth is not None:
        image = outlines(image, truth.transpose(0, 2, 1), TRUTH_COLOR)
    return outlines(image, prediction.transpose(0, 2, 1), LABEL_COLOR, dashed=True)


def captioned(image: np.ndarray, lines: Sequence[tuple[str, Color]]) -> np.ndarray:
    """A picture with lines of text below it, each in its color on black."""
    canvas = Image.new("RGB", (image.shape[1], image.shape[0] + LINE * len(lines)))
    canvas.paste(Image.fromarray(image))
    for number, (text, color) in enumerate(lines):
        ImageDraw.Draw(canvas).text((4, image.shape[0] + LINE * number + 1), text, fill=color)
    return np.asarray(canvas)


def draw_overlay(image: np.ndarray, masks: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """A picture (H, W, 3) with masks (T, h, w) outlined, and below it the names of the classes that have a region."""
    legend = []
    for name, mask, color in zip(classes, masks, class_colors(len(classes)), strict=True):
        if mask.any():
            image = outline(image, mask, color)
            legend.append((name, color))
    return captioned(image, legend)


def side_by_side(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures in a row, the lower ones with black below."""
    height = max(len(picture) for picture in pictures)
    return np.hstack([np.pad(picture, ((0, height - len(picture)), (0, 4), (0, 0))) for picture in pictures])


def encode_picture(picture: np.ndarray, kind: str = "PNG", **options: int | bool) -> bytes:
    """A picture as the content of a file."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, kind, **options)
    return buffer.getvalue()


def fitted(mask: np.ndarray, image: np.ndarray) -> np.ndarray:
    """A mask (h, w) of any size, as large as a picture, bool."""
    gray = Image.fromarray(mask.astype(np.uint8) * 255)
    return np.asarray(gray.resize((image.shape[1], image.shape[0]), Image.Resampling.BILINEAR)) > 127
