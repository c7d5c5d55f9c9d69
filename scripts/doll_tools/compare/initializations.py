"""What a network is initialized with: nothing, a backbone, or all but the head; each a ``pretrained`` of the bundle."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from doll_monai.networks.weights import read_weights
from doll_monai.utils.errors import InputError

BACKBONE, NETWORK = "backbone", "network"
KNOWN: dict[str, tuple[str | None, str | None]] = {
    "scratch": (None, None),
    "classifier": (BACKBONE, "classifier"),
    "doll_backbone": (BACKBONE, "pretrained"),
    "doll": (NETWORK, "pretrained"),
}
"""Name to the part that is taken, and the option that names its checkpoint."""
FIRST_WEIGHTS = ("conv1.weight", "_conv_stem.weight")
"""Of a ResNet and of an EfficientNet-Lite."""
MEMBER = re.compile(r"members\.\d+\.")


class Initialization(NamedTuple):
    """What is taken (``BACKBONE``, ``NETWORK`` without its head) from which checkpoint, or None; of a committee's,
    from which member."""

    part: str | None = None
    source: Path | None = None
    member: int | None = None


def parse_initializations(
    names: Sequence[str], pretrained: Path | None, classifier: Path | None, member: int | None = None
) -> dict[str, Initialization]:
    """Initializations by their names, which are of ``KNOWN`` or ``NAME=FILE``.

    Of a segmentation network's file all but the head is taken, or the backbone alone where NAME ends in ``_backbone``;
    of a classifier's the backbone. ``InputError`` for another name, one that occurs twice, or a missing checkpoint.
    """
    options: dict[str | None, Path | None] = {None: None, "pretrained": pretrained, "classifier": classifier}
    found: dict[str, Initialization] = {}
    for text in map(str, names):
        name, equals, file = text.partition("=")
        if equals and (not re.fullmatch(r"[\w-]+", name) or name in KNOWN or not file):
            raise InputError(f"The initialization '{text}' cannot be read; write NAME=FILE with a new name.")
        if name in found:
            raise InputError(f"The initialization '{name}' occurs twice; give each another name.")
        if equals:
            source = Path(file).resolve()
            backbone = name.endswith("_backbone") or _is_classifier(source)
            found[name] = Initialization(BACKBONE if backbone else NETWORK, source)
        elif name not in KNOWN:
            raise InputError(f"There is no initialization '{name}'; there are: {', '.join(KNOWN)} and NAME=FILE.")
        else:
            part, option = KNOWN[name]
            if option and options[option] is None:
                raise InputError(f"The initialization '{name}' needs a checkpoint; give --{option}.")
            found[name] = Initialization(part, options[option], member if name == "classifier" else None)
    return found


def _is_classifier(path: Path) -> bool:
    """Whether a checkpoint is a classifier's or a committee's, whose backbone a segmentation network can take."""
    names = (name.removeprefix("network.") for name in read_weights(path))
    return any(name in FIRST_WEIGHTS or MEMBER.match(name) for name in names)
