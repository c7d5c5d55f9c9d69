"""``adapter.pt``: adapters and head alone, and which pre-trained network they belong to."""

from __future__ import annotations

import os
from collections.abc import Mapping

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
    """Make a network of the same declaration what it was when its adapter was saved, in place.

    ``pretrained`` is the checkpoint that the adapter was trained on; None if there was none, then the network keeps
    its frozen weights.

    Raises:
        InputError: when a file is missing, or the adapter belongs to another checkpoint, tuning or network; the network
            is unchanged then.
    """
    content = read_checkpoint(path)
    if not isinstance(content, dict) or not all(isinstance(content.get(name), CONTENT[name]) for name in CONTENT):
        raise InputError(f"The file {path} is no adapter with {', '.join(CONTENT)}; train it anew.")
    sha256 = content["pretrained_sha256"]
    if sha256 != ("" if pretrained is None else file_hash(pretrained)):
        own = f"the one with SHA-256 {sha256}" if sha256 else "none"
        raise InputError(f"{path} belongs to another pre-trained checkpoint than {pretrained}; give {own}.")
    wrong = different_weights(content["model"], network.trainable_state_dict())
    if wrong:
        settings = ", ".join(f"{name} {value}" for name, value in content["settings"].items())
        raise InputError(
            f"{path} belongs to another network than network_def: {len(wrong)} trained weights differ, the first is "
            f"'{wrong[0]}'; give the network_def that it was trained with: tuning {content['tuning']}, {settings}."
        )
    load_pretrained(network, pretrained)
    network.load_state_dict(content["model"], strict=False)
    return network
