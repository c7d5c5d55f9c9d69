"""What a network is initialized with: nothing, a backbone, or all but the head; each a ``pretrained`` of the bundle."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from doll_monai.networks.weights import file_hash, is_classifier
from doll_monai.utils.errors import InputError

NOTHING, BACKBONE, NETWORK = "nothing", "backbone", "network"
KNOWN = ("scratch", "classifier", "doll_backbone", "doll")


@dataclass(frozen=True)
class Initialization:
    """An initialization.

    Attributes:
        name: as on the command line.
        part: what is taken from the checkpoint: ``nothing``, its ``backbone``, or the ``network`` without its head.
        source: the checkpoint; None for nothing.
        member: number of the member where the checkpoint is a committee's.
    """

    name: str
    part: str
    source: Path | None = None
    member: int | None = None

    def record(self) -> dict[str, str | int | None]:
        """What it is, for comparison with an earlier run.

        Raises:
            InputError: when the checkpoint is missing.
        """
        content = None if self.source is None else file_hash(self.source)
        return {"part": self.part, "sha256": content, "member": self.member}


def parse_initializations(
    names: Sequence[str], pretrained: Path | None, classifier: Path | None, member: int | None = None
) -> list[Initialization]:
    """Initializations by their names.

    Args:
        names: of ``scratch``, ``classifier``, ``doll_backbone``, ``doll`` and ``NAME=FILE``. Of a segmentation
            network's file all but the head is taken, or the backbone alone where NAME ends in ``_backbone``; of a
            classifier's the backbone.
        pretrained: checkpoint of ``doll`` and ``doll_backbone``.
        classifier, member: checkpoint of ``classifier``, and its member where it is a committee's.

    Raises:
        InputError: for another name, one that occurs twice, or a missing checkpoint.
    """
    found: dict[str, Initialization] = {}
    for name in names:
        initialization = _parse(str(name), pretrained, classifier, member)
        if initialization.name in found:
            raise InputError(f"The initialization '{initialization.name}' occurs twice; give each another name.")
        initialization.record()
        found[initialization.name] = initialization
    return list(found.values())


def _parse(text: str, pretrained: Path | None, classifier: Path | None, member: int | None) -> Initialization:
    name, equals, file = text.partition("=")
    if equals:
        if not re.fullmatch(r"[\w-]+", name) or name in KNOWN or not file:
            raise InputError(f"The initialization '{text}' cannot be read; write NAME=FILE with a new name.")
        source = Path(file).resolve()
        backbone = name.endswith("_backbone") or is_classifier(source)
        return Initialization(name, BACKBONE if backbone else NETWORK, source)
    if name == "scratch":
        return Initialization(name, NOTHING)
    if name not in KNOWN:
        raise InputError(f"There is no initialization '{name}'; there are: {', '.join(KNOWN)} and NAME=FILE.")
    option, path = ("classifier", classifier) if name == "classifier" else ("pretrained", pretrained)
    if path is None:
        raise InputError(f"The initialization '{name}' needs a checkpoint; give --{option}.")
    part = NETWORK if name == "doll" else BACKBONE
    return Initialization(name, part, path, member if name == "classifier" else None)
