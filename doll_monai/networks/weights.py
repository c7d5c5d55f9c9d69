"""Reading and writing checkpoints: always whole files, never pickled code, and one sentence when they do not fit."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from doll_monai.networks.adapters import AdaptedNetwork
from doll_monai.utils.errors import InputError

_MISSING = "The checkpoint {} does not exist; train the network first or give another path."

StateDict = Mapping[str, torch.Tensor]


def file_hash(path: str | os.PathLike) -> str:
    """SHA-256 of a checkpoint, as hexadecimal digits.

    Raises:
        InputError: when the file is missing.
    """
    if not Path(path).is_file():
        raise InputError(_MISSING.format(path))
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def read_checkpoint(path: str | os.PathLike) -> Any:
    """What ``torch.save`` wrote, with ``weights_only=True``, on the CPU.

    Raises:
        InputError: when the file is missing or is no checkpoint.
    """
    if not Path(path).is_file():
        raise InputError(_MISSING.format(path))
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(f"The file {path} is not a checkpoint that can be read safely; restore it.") from error


def read_weights(path: str | os.PathLike) -> StateDict:
    """A network's state dict from a checkpoint that is one, or holds one as ``model``.

    Raises:
        InputError: when the file is missing or holds no state dict.
    """
    content = read_checkpoint(path)
    if isinstance(content, Mapping) and isinstance(content.get("model"), Mapping):
        content = content["model"]
    if not isinstance(content, Mapping) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise InputError(f"The checkpoint {path} holds no network weights.")
    return content


def save_weights(content: Any, path: str | os.PathLike) -> None:
    """``torch.save`` to a temporary name, then rename: a checkpoint that exists is whole."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        # an open file, since torch would write the temporary file's name into it: same weights, same bytes
        with open(temporary, "wb") as stream:
            torch.save(content, stream)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def load_weights(network: nn.Module, path: str | os.PathLike) -> nn.Module:
    """Load a checkpoint strictly into a network and return the network.

    Raises:
        InputError: when the file is missing, or was written by another network.
    """
    load_strictly(network, read_weights(path), path)
    return network


def load_backbone(network: nn.Module, path: str | os.PathLike | None, member: int | None = None) -> nn.Module:
    """Load a ResNet classifier's weights, all but its last layer, strictly into ``network.backbone``.

    Args:
        network: a network with a ``backbone``, such as ``PSPNet``.
        path: the classifier's checkpoint, or a committee's when ``member`` says which of its members to take; None
            leaves the network as it is.
        member: number of the committee's member.

    Raises:
        InputError: when the file is missing, or the classifier is another network than the backbone.
    """
    if path is None:
        return network
    weights = read_weights(path)
    if member is not None:
        prefix = f"members.{member}."
        weights = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    features = {name: value for name, value in weights.items() if not name.startswith("fc.")}
    backbone = getattr(network, "backbone", None)
    if not isinstance(backbone, nn.Module):
        raise InputError(f"network_def has no backbone that the classifier {path} could be loaded into; leave it out.")
    load_strictly(backbone, features, path)
    return network


def load_pretrained(network: nn.Module, path: str | os.PathLike | None) -> nn.Module:
    """Load a pre-trained segmentation network, all but its head, into a network for another task.

    Adapters and head keep their initial values. With ``path=None`` the network stays as it is (from scratch).

    Args:
        network: an ``AdaptedNetwork`` or a plain network of the same architecture.
        path: checkpoint of the pre-trained network (without adapters).

    Raises:
        InputError: when the file is missing or another network wrote it.
    """
    if path is None:
        return network
    weights = read_weights(path)
    state = network.state_dict()
    if isinstance(network, AdaptedNetwork):
        head, names = f"{network.head}.", network.pretrained_names()
    else:
        head, names = "head.", {name: name for name in state if not name.startswith("head.")}
    unknown = set(weights) - set(names.values()) - {name for name in weights if name.startswith(head)}
    wrong = [base for name, base in names.items() if base not in weights or weights[base].shape != state[name].shape]
    if unknown or wrong:
        raise InputError(_other_network(path, sorted(unknown) + wrong))
    network.load_state_dict({**state, **{name: weights[base] for name, base in names.items()}})
    return network


def assemble_committee(checkpoints: Sequence[str | os.PathLike], path: str | os.PathLike) -> None:
    """Write the committee's checkpoint from those of its members, in their order.

    Raises:
        InputError: when a member's checkpoint is missing or holds no weights.
    """
    weights = {
        f"members.{number}.{name}": value
        for number, checkpoint in enumerate(checkpoints)
        for name, value in read_weights(checkpoint).items()
    }
    save_weights(weights, path)


def load_strictly(network: nn.Module, weights: StateDict, path: str | os.PathLike) -> None:
    """Load weights whose names and shapes must be the network's own.

    Args:
        network: gets the weights; unchanged when they are refused.
        weights: name to tensor.
        path: where they were read, for the error.

    Raises:
        InputError: when a name or a shape differs.
    """
    state = network.state_dict()
    wrong = sorted(set(weights) ^ set(state))
    wrong += [name for name in state if name in weights and state[name].shape != weights[name].shape]
    if wrong:
        raise InputError(_other_network(path, wrong))
    network.load_state_dict(dict(weights))


def _other_network(path: str | os.PathLike, wrong: Sequence[str]) -> str:
    return (
        f"The checkpoint {path} belongs to another network than network_def: {len(wrong)} weights differ, "
        f"the first is '{wrong[0]}'; give its own checkpoint or the network_def that it was trained with."
    )
