"""Small maps of the members, kept to be looked at: a picture an image, one row an observation, one column a source."""

from __future__ import annotations

import hashlib
import heapq
import io
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image, PngImagePlugin

SIDE = 64
"""Longer side of one map, in cells."""
LEVELS = 32
"""Gray levels of a map: enough to look at, and a quarter of the bytes of 256."""


def image_hash(image: str) -> str:
    """SHA-256 of an image's relative path: an order that knows nothing of what is in the image."""
    return hashlib.sha256(image.encode()).hexdigest()


def kept_images(images: Iterable[str], count: int) -> frozenset[str]:
    """The ``count`` images with the smallest hashes, the same whatever their order and however they are shared."""
    return frozenset(heapq.nsmallest(count, images, key=image_hash))


def grid(size: Sequence[int], side: int = SIDE) -> tuple[int, int]:
    """Cells of a small map of an image of ``size``, its longer side ``side`` or the image's own."""
    scale = min(side / max(size), 1)
    return max(round(size[0] * scale), 1), max(round(size[1] * scale), 1)


def map_sheet(maps: np.ndarray, observations: Sequence[str]) -> bytes:
    """Maps, each relative to its own maximum, as a gray PNG: a row an observation; the members' mean, then each member.

    ``maps`` are (K, T, W, H) >= 0, K members and T observations, whose names the PNG keeps, with commas, as its text
    ``observations``.
    """
    sources = np.concatenate([maps.mean(axis=0, keepdims=True), maps])
    peak = np.maximum(sources.max(axis=(2, 3), keepdims=True), np.finfo(np.float32).tiny)
    levels = np.rint(sources / peak * (LEVELS - 1)) * (255 / (LEVELS - 1))
    count, rows, width, height = levels.shape
    sheet = levels.transpose(1, 3, 0, 2).reshape(rows * height, count * width)
    text = PngImagePlugin.PngInfo()
    text.add_text("observations", ",".join(observations))
    buffer = io.BytesIO()
    Image.fromarray(sheet.round().astype(np.uint8)).save(buffer, "PNG", optimize=True, pnginfo=text)
    return buffer.getvalue()
