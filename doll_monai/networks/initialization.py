"""Checkpoints of several origins as the weights that a segmentation network starts from."""

from __future__ import annotations

import os
import re

import torch
from torch import nn

from doll_monai.networks.weights import load_strictly, read_weights
from doll_monai.utils.errors import InputError

FIRST_CONVOLUTION = "conv1.weight"
_ADAPTERS = re.compile(r"(^|\.)(base|adapters?|base_layer|lora_\w+)\.")
_MEMBER = re.compile(r"members\.(\d+)\.")
_BACKBONE = "backbone."


def network_weights(path: str | os.PathLike) -> dict[str, torch.Tensor]:
    """Weights of a checkpoint by the names of the plain network.

    Args:
        path: a checkpoint of a plain network, or of an ``AdaptedNetwork`` that was trained as a whole.

    Raises:
        InputError: when the file is missing, or its network has adapters in it.
    """
    weights = read_weights(path)
    if any(_ADAPTERS.search(name) for name in weights):
        raise InputError(f"The checkpoint {path} has adapters in it; give that of a network trained as a whole.")
    return {name.removeprefix("network."): value for name, value in weights.items()}


def is_classifier(path: str | os.PathLike) -> bool:
    """Whether a checkpoint is a ResNet's or a committee's, of which a segmentation network can take the backbone."""
    weights = network_weights(path)
    return FIRST_CONVOLUTION in weights or any(_MEMBER.match(name) for name in weights)


def backbone_weights(path: str | os.PathLike, member: int | None = None) -> dict[str, torch.Tensor]:
    """Weights of a ResNet without its last layer.

    Args:
        path: a checkpoint of a segmentation network, of a classifier, of a committee, or of a ResNet of torchvision,
            whose names are those of MONAI's.
        member: number of the committee's member.

    Raises:
        InputError: when the file is missing, is a committee's without ``member``, or has no such member.
    """
    weights = network_weights(path)
    backbone = {name: value for name, value in weights.items() if name.startswith(_BACKBONE)}
    if backbone:
        return {name.removeprefix(_BACKBONE): value for name, value in backbone.items()}
    members = sorted({int(found[1]) for found in map(_MEMBER.match, weights) if found})
    if members:
        if member not in members:
            known = ", ".join(map(str, members))
            raise InputError(f"The checkpoint {path} is a committee's; give the number of a member: {known}.")
        prefix = f"members.{member}."
        weights = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    if FIRST_CONVOLUTION not in weights:
        raise InputError(f"The checkpoint {path} is neither of a ResNet nor of a segmentation network with a backbone.")
    return {name: value for name, value in weights.items() if not name.startswith("fc.")}


def grey_first_convolution(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same backbone for one grey channel: what it does to a color image whose channels are all that grey one.

    Args:
        weights: of a backbone; its first convolution is (C, 3, k, k), or (C, 1, k, k) and left as it is.
    """
    first = weights[FIRST_CONVOLUTION]
    return {**weights, FIRST_CONVOLUTION: first.sum(dim=1, keepdim=True)} if first.shape[1] == 3 else weights


def start_from_backbone(network: nn.Module, path: str | os.PathLike, member: int | None = None) -> nn.Module:
    """Load a checkpoint's backbone strictly into ``network.backbone``; everything else stays as it is.

    Counters of batches (``num_batches_tracked``) that old checkpoints lack stay at their initial value.

    Args:
        network: a network with a ``backbone`` that takes one channel, such as ``PSPNet``.
        path, member: see ``backbone_weights``. Color is converted, see ``grey_first_convolution``; images are not
            normalized as the images of its training were.

    Raises:
        InputError: when the network has no backbone, or the checkpoint's is another one.
    """
    backbone = getattr(network, "backbone", None)
    if not isinstance(backbone, nn.Module):
        raise InputError(f"network_def has no backbone that {path} could be loaded into; leave that start out.")
    weights = grey_first_convolution(backbone_weights(path, member))
    counters = {name: value for name, value in backbone.state_dict().items() if name.endswith("num_batches_tracked")}
    load_strictly(backbone, {**counters, **weights}, path)
    return network


def start_from_network(network: nn.Module, path: str | os.PathLike, head: str = "head") -> nn.Module:
    """Load a segmentation network's checkpoint strictly into a network of other classes, all but the head.

    Args:
        network: the plain network.
        path: see ``network_weights``.
        head: name of the module that belongs to the classes.

    Raises:
        InputError: when the checkpoint is of another network.
    """
    weights = network_weights(path)
    own = {name: value for name, value in network.state_dict().items() if name.startswith(f"{head}.")}
    others = {name: value for name, value in weights.items() if not name.startswith(f"{head}.")}
    load_strictly(network, {**others, **own}, path)
    return network
