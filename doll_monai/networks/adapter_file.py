"""``adapter.pt``: adapters and head alone, and which pre-trained network they belong to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from doll_monai.networks.adapters import AdaptedNetwork
from doll_monai.networks.weights import different_weights, file_hash, load_pretrained, read_checkpoint, save_weights
from doll_monai.utils.errors import InputError

CONTENT = {"model": Mapping, "pretrained_sha256": str, "tuning": str, "settings": Mapping}


def save_adapter(network: AdaptedNetwork, path: str | os.PathLike, pretrained: str | os.PathLike | None) -> None:
    """Write what was trained of an adapted network.

    The file is a dictionary: ``model`` (the trained weights by their names in the network), ``pretrained_sha256``
    (of the pre-trained checkpoint; empty without one), ``tuning`` and ``settings`` (of ``AdaptedNetwork``).

    Raises:
        InputError: when all of the network was trained, or ``pretrained`` is missing.
    """
    if network.tuning == "full":
        raise InputError(f"A network that was trained as a whole has no adapter for {path}; save all its weights.")
    content = {
        "model": network.trainable_state_dict(),
        "pretrained_sha256": "" if pretrained is None else file_hash(pretrained),
        "tuning": network.tuning,
        "settings": network.settings(),
    }
    save_weights(content, path)


def load_adapter(
    network: AdaptedNetwork, path: str | os.PathLike, pretrained: str | os.PathLike | None
) -> AdaptedNetwork:
    """Make a network what it was when its adapter was saved: pre-trained weights, then adapters and head.

    Args:
        network: an adapted network of the same declaration; changed in place, or not at all.
        path: ``adapter.pt``.
        pretrained: the checkpoint that the adapter was trained on; None if there was none, then the network keeps
            its frozen weights.

    Raises:
        InputError: when a file is missing, or the adapter belongs to another checkpoint, tuning or network.
    """
    file = AdapterFile.read(path)
    file.check_pretrained(pretrained)
    file.check_network(network)
    load_pretrained(network, pretrained)
    network.load_state_dict(file.weights, strict=False)
    return network


@dataclass(frozen=True)
class AdapterFile:
    """The content of an ``adapter.pt``; see ``save_adapter``."""

    path: Path
    weights: dict[str, torch.Tensor]
    pretrained_sha256: str
    tuning: str
    settings: dict[str, Any]

    @classmethod
    def read(cls, path: str | os.PathLike) -> AdapterFile:
        """Read a file that ``save_adapter`` wrote; ``InputError`` when it is missing or another file."""
        content = read_checkpoint(path)
        if not isinstance(content, Mapping) or not all(
            isinstance(content.get(name), CONTENT[name]) for name in CONTENT
        ):
            raise InputError(f"The file {path} is no adapter with {', '.join(CONTENT)}; train it anew.")
        model, sha256, tuning, settings = (content[name] for name in CONTENT)
        return cls(Path(path), dict(model), sha256, tuning, dict(settings))

    def check_pretrained(self, pretrained: str | os.PathLike | None) -> None:
        """Raise ``InputError`` when a pre-trained checkpoint (None for none) is not the adapter's own."""
        if self.pretrained_sha256 != ("" if pretrained is None else file_hash(pretrained)):
            own = f"the one with SHA-256 {self.pretrained_sha256}" if self.pretrained_sha256 else "none"
            raise InputError(f"{self.path} belongs to another pre-trained checkpoint than {pretrained}; give {own}.")

    def check_network(self, network: AdaptedNetwork) -> None:
        """Raise ``InputError`` when names or shapes of the network's trained part are others."""
        wrong = different_weights(self.weights, network.trainable_state_dict())
        if wrong:
            settings = ", ".join(f"{name} {value}" for name, value in {"tuning": self.tuning, **self.settings}.items())
            raise InputError(
                f"{self.path} belongs to another network than network_def: {len(wrong)} trained weights differ, the "
                f"first is '{wrong[0]}'; give the network_def that it was trained with: {settings}."
            )
