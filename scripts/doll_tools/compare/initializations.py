"""What a network is initialized with: nothing, a backbone, or all but the head; each a ``pretrained`` of the bundle."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from doll_monai.networks.weights import file_hash, is_classifier
from doll_monai.utils.errors import InputError

BACKBONE, NETWORK = "backbone", "network"
KNOWN = ("scratch", "classifier", "doll_backbone", "doll")


class Initialization(NamedTuple):
    """What is taken (``BACKBONE``, ``NETWORK`` without its head) from which checkpoint, or None; of a committee's,
    from which member."""

    part: str | None = None
    source: Path | None = None
    member: int | None = None

    def record(self) -> dict[str, Any]:
        """What it is, for comparison with an earlier run; ``InputError`` when the checkpoint is missing."""
        return {**self._asdict(), "source": None if self.source is None else file_hash(self.source)}


def parse_initializations(
    names: Sequence[str], pretrained: Path | None, classifier: Path | None, member: int | None = None
) -> dict[str, Initialization]:
    """Initializations by their names.

    Args:
        names: of ``KNOWN`` and ``NAME=FILE``. Of a segmentation network's file all but the head is taken, or the
            backbone alone where NAME ends in ``_backbone``; of a classifier's the backbone.
        pretrained: checkpoint of ``doll`` and ``doll_backbone``.
        classifier, member: checkpoint of ``classifier``, and its member where it is a committee's.

    Raises:
        InputError: for another name, one that occurs twice, or a missing checkpoint.
    """
    found: dict[str, Initialization] = {}
    for text in map(str, names):
        name, equals, file = text.partition("=")
        if equals and (not re.fullmatch(r"[\w-]+", name) or name in KNOWN or not file):
            raise InputError(f"The initialization '{text}' cannot be read; write NAME=FILE with a new name.")
        if name in found:
            raise InputError(f"The initialization '{name}' occurs twice; give each another name.")
        if equals:
            source = Path(file).resolve()
            backbone = name.endswith("_backbone") or is_classifier(source)
            found[name] = Initialization(BACKBONE if backbone else NETWORK, source)
        elif name == "scratch":
            found[name] = Initialization()
        elif name not in KNOWN:
            raise InputError(f"There is no initialization '{name}'; there are: {', '.join(KNOWN)} and NAME=FILE.")
        elif (classifier if name == "classifier" else pretrained) is None:
            option = "classifier" if name == "classifier" else "pretrained"
            raise InputError(f"The initialization '{name}' needs a checkpoint; give --{option}.")
        elif name == "classifier":
            found[name] = Initialization(BACKBONE, classifier, member)
        else:
            found[name] = Initialization(NETWORK if name == "doll" else BACKBONE, pretrained)
        found[name].record()
    return found
