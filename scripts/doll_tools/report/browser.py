"""What the label browser shows, as one JSON text inside the page."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Iterable
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from doll_monai.data.ground_truth import GroundTruth
from doll_monai.findings import BACKGROUND, FOREGROUND, IGNORE, finding_index
from doll_monai.visualize.pictures import read_image, read_mask
from doll_tools.report.pairs import (
    LabeledImage,
    label_path,
    labeled_images,
    map_path,
    places,
    score,
    shown_first,
    truth_of,
)
from doll_tools.report.run_folder import RunFolder

Progress = Callable[[list[LabeledImage]], Iterable[LabeledImage]]

SIDE = 160
"""Longer side of the labels and truths in the page; the masks' own where that is less."""
IMAGES = 300
"""Images in the page by default."""
LEVELS = (0, 255, 128)
"""Grey values of background, foreground and ignored pixels in a label's picture."""


@dataclass(frozen=True)
class Browser:
    """The browser's data.

    Attributes:
        images: number of images in it.
        of: number of images with a label.
        pairs: number of pairs of an image and an observation.
        observations: those that occur.
        maps: whether the members' maps of any image are in it.
        truth: whether the place of any pair is known.
        json: the data, safe inside a ``<script>`` element.
    """

    images: int
    of: int
    pairs: int
    observations: list[str]
    maps: bool
    truth: bool
    json: str


def label_browser(folder: RunFolder, count: int = IMAGES, progress: Progress = iter) -> Browser | None:
    """The browser of a run's labels; None when there is no label with a foreground, or no image of it.

    Args:
        folder: the run.
        count: images at most; see ``shown_first`` for which.
        progress: wraps the images while they are read.
    """
    truth = truth_of(folder.chexpert)
    labeled = labeled_images(folder)
    images: list[dict[str, Any]] = []
    pairs: list[list[Any]] = []
    for image in progress(shown_first(labeled, truth, folder)[:count]):
        entry = _image(folder, image, truth)
        if entry is not None:
            pairs += [[len(images), *astuple(pair)] for pair in image.pairs]
            images.append(entry)
    if not images:
        return None
    members = [str(name) for name in folder.pipeline.get("members") or []]
    content = {"members": members, "images": images, "pairs": pairs}
    found = {pair[1] for pair in pairs}
    return Browser(
        len(images),
        len(labeled),
        len(pairs),
        sorted(found, key=finding_index),
        any(image["maps"] for image in images),
        any(pair[-1] is not None for pair in pairs),
        json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"),
    )


def _image(folder: RunFolder, image: LabeledImage, truth: GroundTruth) -> dict[str, Any] | None:
    """One image's pictures, each a base64 text; None when image or label cannot be read."""
    picture, label = read_image(folder.chexpert / image.image), read_mask(label_path(folder, image.image))
    if picture is None or label is None:
        return None
    _, height, width = label.shape
    known = places(truth, folder.chexpert / image.image, (width, height))
    score(image, label.transpose(0, 2, 1), known)
    channels = [finding_index(pair.observation) for pair in image.pairs]
    maps = map_path(folder, image.image)
    rows = _map_rows(maps)
    return {
        "name": image.image,
        "section": image.section,
        "image": _encoded(picture[..., 0], "JPEG", quality=80, optimize=True),
        "label": _mask_sheet([label[channel] for channel in channels]),
        "truth": _mask_sheet([known[c].T.astype(np.uint8) for c in channels if c in known]) if known else "",
        "places": [image.pairs[number].observation for number, c in enumerate(channels) if c in known],
        "maps": base64.b64encode(maps.read_bytes()).decode() if rows else "",
        "rows": rows,
    }


def _map_rows(path: Path) -> list[str]:
    """The observations of a sheet of maps, from above; none where there is no sheet, or no whole one."""
    try:
        with Image.open(path) as picture:
            picture.load()
            names = str(picture.info.get("observations", ""))
    except (OSError, SyntaxError, ValueError):  # what Pillow raises for files that are missing or damaged
        return []
    return names.split(",") if names else []


def _mask_sheet(masks: list[np.ndarray]) -> str:
    """Masks (H, W) of 0, 1 and 255 below each other, as a PNG in the greys of ``LEVELS``; no text without masks."""
    if not masks:
        return ""
    step = max(1, -(-max(masks[0].shape) // SIDE))
    sheet = np.concatenate([mask[::step, ::step] for mask in masks])
    values = (BACKGROUND, FOREGROUND, IGNORE)
    indices = np.select([sheet == value for value in values], range(len(values)), 0)
    picture = Image.fromarray(indices.astype(np.uint8)).convert("P")
    picture.putpalette([level for level in LEVELS for _ in range(3)])
    return _encoded(picture, "PNG", bits=2, optimize=True)


def _encoded(picture: np.ndarray | Image.Image, kind: str, **options: Any) -> str:
    buffer = io.BytesIO()
    image = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
    image.save(buffer, kind, **options)
    return base64.b64encode(buffer.getvalue()).decode()
