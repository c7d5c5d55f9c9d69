"""Low-rank corrections of the convolutions of a frozen network (LoRA, arXiv 2106.09685), by the library peft."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from torch import nn

from doll_monai.networks.places import inside, replace_module, within
from doll_monai.utils.errors import InputError

LORA_PARTS = ("lora_A", "lora_B")
"""What a layer of peft trains: B of A is added to the convolution that it holds as ``base_layer``."""


def insert_lora(network: nn.Module, targets: Sequence[str], rank: int, head: str) -> None:
    """Give every convolution outside the head a correction of low rank that starts at zero, in place.

    Left out are convolutions in groups, which peft does not merge, and those that pad with anything but zeros, which
    it would not imitate. peft 0.21 leaves out the dilation of a convolution too; it is set here.

    Args:
        network: any network.
        targets: regular expressions; convolutions of this name, or inside a module of this name, are taken.
        rank: channels between the two factors; ``lora_alpha`` is the same, so that their product is added as it is.
        head: name of the module that gets none.

    Raises:
        InputError: when peft is not installed, or there is no such convolution.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise InputError("tuning 'lora' needs peft; install it with: pip install 'doll-monai[lora]'.") from error
    names = [
        name
        for name, module in network.named_modules()
        if _suits(module) and inside(name, targets) and not within(name, head)
    ]
    if not names:
        raise InputError(f"The network has no convolution in {list(targets)} that peft could adapt; choose others.")
    places = "|".join(re.escape(name) for name in names)  # a list would match the ends of other names
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=rank, target_modules=places), network)
    del network.peft_config
    for layer in lora_layers(network).values():
        for factor in layer.lora_A.values():
            factor.dilation = layer.base_layer.dilation


def lora_layers(network: nn.Module) -> dict[str, Any]:
    """The layers that peft put into a network, by name."""
    return {name: module for name, module in network.named_modules() if hasattr(module, "lora_A")}


def fold_lora(network: nn.Module) -> None:
    """Add the corrections to the convolutions that they belong to, and take them out, in place."""
    for name, layer in lora_layers(network).items():
        layer.merge()
        replace_module(network, name, layer.get_base_layer())


def _suits(module: nn.Module) -> bool:
    return type(module) is nn.Conv2d and module.groups == 1 and module.padding_mode == "zeros"
