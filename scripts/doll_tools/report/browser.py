"""What the label browser shows, as one JSON text inside the page."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable
from dataclasses import astuple
from typing import Any

import numpy as np

from doll_monai.findings import FINDINGS, FOREGROUND, IGNORE
from doll_monai.transforms.reading import read_picture
from doll_monai.visualize.pictures import encode_picture
from doll_tools.report.drawing import read_mask
from doll_tools.report.labels import LabeledImage, Labels

Progress = Callable[[list[LabeledImage]], Iterable[LabeledImage]]

SIDE = 160
"""Longer side of the labels and ground truths in the page; the masks' own where that is less."""
IMAGES = 300
"""Images in the page by default."""


def label_browser(labels: Labels, count: int = IMAGES, progress: Progress = iter) -> dict[str, Any]:
    """What the browser shows of the first ``count`` of ``Labels.images``; {} when there is none that can be read.

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
    content = {"members": labels.members, "images": images, "pairs": pairs}
    return {
        "images": len(images),
        "of": len(labeled),
        "pairs": len(pairs),
        "observations": sorted({pair[1] for pair in pairs}, key=FINDINGS.index),
        "maps": any(image["maps"] for image in images),
        "truth": any(pair[-1] is not None for pair in pairs),
        "json": json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"),
    }


def _image(labels: Labels, image: LabeledImage) -> dict[str, Any] | None:
    """One image's pictures, each a base64 text; None when image or label cannot be read."""
    picture, label = read_picture(labels.folder.chexpert / image.image), read_mask(labels.label(image.image))
    if picture is None or label is None:
        return None
    truth = labels.score(image, label)
    known = [pair for pair in image.pairs if pair.channel in truth]
    sheet, maps = labels.maps(image.image)
    return {
        "name": image.image,
        "section": image.section,
        "image": _text(encode_picture(picture[..., 0], "JPEG", quality=80, optimize=True)),
        "label": _mask_sheet([label[pair.channel] for pair in image.pairs]),
        "truth": _mask_sheet([truth[pair.channel] for pair in known]),
        "known": [pair.observation for pair in known],
        "maps": _text(sheet),
        "rows": list(maps),
    }


def _mask_sheet(masks: list[np.ndarray]) -> str:
    """Masks (H, W) below each other as a PNG: foreground white, ignored gray; no text without masks."""
    if not masks:
        return ""
    step = max(1, -(-max(masks[0].shape) // SIDE))
    sheet = np.concatenate([mask[::step, ::step] for mask in masks])
    levels = np.select([sheet == FOREGROUND, sheet == IGNORE], [255, 128], 0)
    return _text(encode_picture(levels.astype(np.uint8), "PNG", optimize=True))


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()
