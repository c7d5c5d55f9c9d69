"""What a tuning puts into a frozen network: bottlenecks, low-rank corrections, scales and shifts; and where."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import torch
from monai.networks.utils import eval_mode
from torch import nn

from doll_monai.utils.errors import InputError

Normalization = nn.BatchNorm2d | nn.SyncBatchNorm | nn.InstanceNorm2d | nn.GroupNorm | nn.LayerNorm


class AdapterBlock(nn.Module):
    """A frozen module followed by its adapter: ``base(x) + adapter(base(x))``."""

    def __init__(self, base: nn.Module, adapter: nn.Module) -> None:
        super().__init__()
        self.base = base
        self.adapter = adapter

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.base(x)
        return y + self.adapter(y)


class ConvAdapter(nn.Module):
    """Bottleneck ``1 x 1 -> 3 x 3 -> 1 x 1``; the last convolution starts at zero, so that at first it adds nothing.

    "Segmentation adapter" has no published definition that was available; the bottleneck, its places and its width
    are ours, close to Conv-Adapter (arXiv 2208.07463).

    ``width`` is the number of channels inside the bottleneck. Shape: (B, C, h, w) -> (B, C, h, w).
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(channels, width, kernel_size=1)
        self.middle = nn.Conv2d(width, width, kernel_size=3, padding=1)
        self.up = nn.Conv2d(width, channels, kernel_size=1)
        self.act = nn.ReLU(inplace=True)
        for parameter in self.up.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.up(self.act(self.middle(self.act(self.down(x)))))


class ScaleShift(nn.Module):
    """What ``(1 + scale) y + shift`` adds to y (SSF, arXiv 2210.08823).

    The paper draws the scale around 1; here both start at zero, and weight decay draws to the pre-trained network.

    ``shape`` is that of either, to be broadcast: (C, 1, 1) for (B, C, h, w), (C,) where the channels are last.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(*shape))
        self.shift = nn.Parameter(torch.zeros(*shape))

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        return self.scale * y + self.shift


def within(name: str, module: str) -> bool:
    """Whether a name is that of a module or of something in it."""
    return name == module or name.startswith(f"{module}.")


def select(names: Iterable[str], targets: Sequence[str], head: str, what: str, nested: bool = True) -> list[str]:
    """Those of some names outside the head that match a regular expression of ``targets`` as a whole.

    If ``nested``, a name is also selected when that of a module around it matches.

    Raises:
        InputError: when no ``what`` matches, or a target is no regular expression.
    """
    try:
        patterns = [re.compile(target) for target in targets]
    except re.error as error:
        raise InputError(f"targets holds '{error.pattern!s}', which is no regular expression: {error.msg}.") from error
    found = []
    for name in names:
        parts = name.split(".")
        around = [".".join(parts[:depth]) for depth in range(1, len(parts) + 1)] if nested else [name]
        if not within(name, head) and any(pattern.fullmatch(place) for pattern in patterns for place in around):
            found.append(name)
    if not found:
        raise InputError(f"The network has no {what} in {list(targets)} that could be tuned; choose other targets.")
    return found


def insert_conv_adapters(network: nn.Module, targets: Sequence[str], head: str, reduction: int) -> None:
    """Put a ``ConvAdapter`` behind every module whose whole name matches, in place; its width is C / reduction >= 4.

    Raises:
        InputError: when no module matches, or one does not turn one input into features (B, C, h, w).
    """
    modules = dict(network.named_modules())
    names = select(filter(None, modules), targets, head, "module", nested=False)
    channels: dict[str, int] = {}

    def keep(name: str, _module: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        if len(inputs) == 1 and isinstance(output, torch.Tensor) and output.dim() == 4:
            channels[name] = int(output.shape[1])

    handles = [modules[name].register_forward_hook(partial(keep, name)) for name in names]
    first = next(module for module in modules.values() if isinstance(module, nn.Conv2d))
    with eval_mode(network):
        network(torch.zeros(1, first.in_channels, 64, 64, device=first.weight.device))
    for handle in handles:
        handle.remove()
    for name in reversed(names):  # the inner ones first: their names change with those around them
        if name not in channels:
            raise InputError(f"The module '{name}' does not turn one input into features (B, C, h, w); name another.")
        adapter = ConvAdapter(channels[name], max(channels[name] // reduction, 4))
        network.set_submodule(name, AdapterBlock(modules[name], adapter))


def insert_scale_shift(network: nn.Module, targets: Sequence[str], head: str) -> None:
    """Put a ``ScaleShift`` behind every normalization in ``targets``, in place; ``InputError`` when there is none."""
    norms = {name: module for name, module in network.named_modules() if isinstance(module, Normalization)}
    for name in select(norms, targets, head, "normalization"):
        norm = norms[name]
        channels = norm.num_channels if isinstance(norm, nn.GroupNorm) else getattr(norm, "num_features", 0)
        shape = norm.normalized_shape if isinstance(norm, nn.LayerNorm) else (channels, 1, 1)
        network.set_submodule(name, AdapterBlock(norm, ScaleShift(shape)))


def insert_lora(network: nn.Module, targets: Sequence[str], head: str, rank: int) -> None:
    """Give every convolution in ``targets`` a correction of low rank by peft (arXiv 2106.09685), in place.

    The correction starts at zero; ``lora_alpha`` is the rank, so that the factors' product is added as it is. Left out
    are convolutions in groups and those that pad with anything but zeros, which peft does not imitate.

    Raises:
        InputError: when peft is not installed, or there is no such convolution.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise InputError("tuning 'lora' needs peft; install it with: pip install 'doll-monai[lora]'.") from error
    convolutions = [
        name
        for name, module in network.named_modules()
        if type(module) is nn.Conv2d and module.groups == 1 and module.padding_mode == "zeros"
    ]
    names = select(convolutions, targets, head, "convolution")
    places = "|".join(re.escape(name) for name in names)  # a list would match the ends of other names
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=rank, target_modules=places), network)
    del network.peft_config
    for name in names:
        layer: Any = network.get_submodule(name)
        for factor in layer.lora_A.values():
            factor.dilation = layer.base_layer.dilation  # peft 0.21 leaves it out


def adapter_modules(network: nn.Module) -> dict[str, nn.Module]:
    """The modules that were put into a network, by name."""
    found = {}
    for name, module in network.named_modules():
        parts = ("adapter",) if isinstance(module, AdapterBlock) else ("lora_A", "lora_B")
        found.update({f"{name}.{part}": getattr(module, part) for part in parts if hasattr(module, part)})
    return found
