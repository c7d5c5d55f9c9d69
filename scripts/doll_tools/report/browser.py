"""What the label browser shows, as one JSON text inside the page."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Iterable
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from doll_monai.findings import BACKGROUND, FOREGROUND, IGNORE, finding_index
from doll_monai.transforms.pictures import read_image, read_mask
from doll_tools.report.labels import LabeledImage, Labels

Progress = Callable[[list[LabeledImage]], Iterable[LabeledImage]]

SIDE = 160
"""Longer side of the labels and ground truths in the page; the masks' own where that is less."""
IMAGES = 300
"""Images in the page by default."""
LEVELS = {BACKGROUND: 0, FOREGROUND: 255, IGNORE: 128}
"""Grey values of a label's picture."""


def label_browser(labels: Labels, count: int = IMAGES, progress: Progress = iter) -> dict[str, Any]:
    """What the browser of a run's labels shows; {} when there is no label with a foreground, or no image of it.

    Args:
        labels: of the run.
        count: images at most; see ``Labels.images`` for which.
        progress: wraps the images while they are read.

    Returns:
        numbers of ``images``, of images with a label (``of``) and of ``pairs``; the ``observations`` that occur;
        whether any image has members' ``maps`` and any pair ground ``truth``; ``json``, safe inside a ``<script>``.
    """
    labeled = labels.images()
    images: list[dict[str, Any]] = []
    pairs: list[list[Any]] = []
    for image in progress(labeled[:count]):
        entry = _image(labels, image)
        if entry is not None:
            pairs += [[len(images), *astuple(pair)] for pair in image.pairs]
            images.append(entry)
    if not images:
        return {}
    members = [str(name) for name in labels.folder.pipeline.get("members") or []]
    content = {"members": members, "images": images, "pairs": pairs}
    return {
        "images": len(images),
        "of": len(labeled),
        "pairs": len(pairs),
        "observations": sorted({pair[1] for pair in pairs}, key=finding_index),
        "maps": any(image["maps"] for image in images),
        "truth": any(pair[-1] is not None for pair in pairs),
        "json": json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"),
    }


def _image(labels: Labels, image: LabeledImage) -> dict[str, Any] | None:
    """One image's pictures, each a base64 text; None when image or label cannot be read."""
    picture, label = read_image(labels.folder.chexpert / image.image), read_mask(labels.label(image.image))
    if picture is None or label is None:
        return None
    known = labels.score(image, label)
    maps = labels.maps(image.image)
    rows = _map_rows(maps)
    return {
        "name": image.image,
        "section": image.section,
        "image": _encoded(Image.fromarray(picture[..., 0]), "JPEG", quality=80, optimize=True),
        "label": _mask_sheet([label[pair.channel] for pair in image.pairs]),
        "truth": _mask_sheet([known[pair.channel] for pair in image.pairs if pair.channel in known]),
        "known": [pair.observation for pair in image.pairs if pair.channel in known],
        "maps": base64.b64encode(maps.read_bytes()).decode() if rows else "",
        "rows": rows,
    }


def _map_rows(path: Path) -> list[str]:
    """The observations of a sheet of maps, from above; none where there is no sheet, or a damaged one."""
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
    indices = np.select([sheet == value for value in LEVELS], range(len(LEVELS)), 0)
    picture = Image.fromarray(indices.astype(np.uint8)).convert("P")
    picture.putpalette([level for level in LEVELS.values() for _ in range(3)])
    return _encoded(picture, "PNG", bits=2, optimize=True)


def _encoded(image: Image.Image, kind: str, **options: Any) -> str:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return base64.b64encode(buffer.getvalue()).decode()
