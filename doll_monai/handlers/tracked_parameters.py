"""How a run's parameters are shown in MLflow. Provenance records and resumed trainings keep the names of the knobs."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

NAMES = {
    "checkpoint_sha256": "checkpoint hash",
    "datalist_sha256": "datalist hash",
    "epoch_length": "batches per epoch",
    "images": "training images",
    "loss_name": "loss",
    "max_epochs": "epochs",
    "noise_stdev": "noise standard deviation",
    "pretrained": "pre-trained network",
}
"""Knobs whose name says too little beside the others of a run."""
SHORT_HASH = 12
LONGEST = 250
"""Characters of a value."""


def shown_parameters(parameters: Mapping[str, Any]) -> dict[str, str]:
    """Parameters as a reader wants them: ``{"image_size": [224, 224]}`` is ``{"image size": "224 x 224"}``.

    Args:
        parameters: name to value.

    Returns:
        shown name to shown value.
    """
    return {shown_name(name): shown_value(value) for name, value in parameters.items()}


def shown_name(name: str) -> str:
    """``IG steps`` for ``ig_steps``; a name of ``NAMES``, else the knob's own with spaces."""
    words = name.replace("::", ".").replace("_", " ")
    return NAMES.get(name, re.sub(r"\big\b", "IG", words))


def shown_value(value: Any) -> str:
    """A value in at most 250 characters.

    Of an absolute path the last two parts, of a SHA-256 the first 12 digits, a size as ``224 x 224``, a table without
    its brackets, its default first and unnamed.
    """
    text = _text(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _text(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    if isinstance(value, Mapping):
        rest = [f"{name} {_text(item)}" for name, item in value.items() if name != "default"]
        return ", ".join([*([_text(value["default"])] if "default" in value else []), *rest])
    if isinstance(value, Sequence) and not isinstance(value, str):
        is_size = len(value) == 2 and all(type(item) is int for item in value)
        return (" x " if is_size else ", ").join(map(_text, value)) or "none"
    text = str(value)
    if re.fullmatch(r"[0-9a-f]{64}", text):
        return text[:SHORT_HASH]
    return "/".join(PurePath(text).parts[-2:]).lstrip("/") if os.path.isabs(text) else text
