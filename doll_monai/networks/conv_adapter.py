"""Convolutional bottlenecks behind the modules of a frozen network.

"Segmentation adapter" has no published definition that was available; the convolutional bottleneck, its places and
its width here are ours, close to Conv-Adapter (arXiv 2208.07463).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from doll_monai.networks.places import matching, replace_module
from doll_monai.utils.errors import InputError


class ConvAdapter(nn.Module):
    """Bottleneck ``1 x 1 -> 3 x 3 -> 1 x 1``; the last convolution starts at zero, so that at first it adds nothing.

    Args:
        channels: C of the features that it adapts.
        width: channels inside the bottleneck.

    Shape: (B, C, h, w) -> (B, C, h, w).
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(channels, width, kernel_size=1)
        self.middle = nn.Conv2d(width, width, kernel_size=3, padding=1)
        self.up = nn.Conv2d(width, channels, kernel_size=1)
        self.act = nn.ReLU(inplace=True)
        nn.init.zeros_(self.up.weight)
        assert self.up.bias is not None
        nn.init.zeros_(self.up.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Args: x: (B, C, h, w). Returns: the correction, (B, C, h, w)."""
        return self.up(self.act(self.middle(self.act(self.down(x)))))


class AdapterBlock(nn.Module):
    """A frozen module followed by its adapter: ``base(x) + adapter(base(x))``."""

    def __init__(self, base: nn.Module, adapter: nn.Module) -> None:
        super().__init__()
        self.base = base
        self.adapter = adapter

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Args: x: whatever ``base`` takes. Returns: the base's output, corrected."""
        y = self.base(x)
        return y + self.adapter(y)


def insert_conv_adapters(network: nn.Module, targets: Sequence[str], reduction: int, head: str) -> None:
    """Put a ``ConvAdapter`` behind every module outside the head whose whole name matches, in place.

    Args:
        network: an image network, ``(B, C, H, W)`` in.
        targets: regular expressions.
        reduction: an adapter's width is its channels divided by this (at least 4).
        head: name of the module that gets none.

    Raises:
        InputError: when no module matches, or one does not turn one input into features (B, C, h, w).
    """
    names = matching(network, targets, head)
    channels = _output_channels(network, names)
    for name in reversed(names):  # the inner ones first: their names change with those around them
        adapter = ConvAdapter(channels[name], max(channels[name] // reduction, 4))
        replace_module(network, name, AdapterBlock(network.get_submodule(name), adapter))


def _output_channels(network: nn.Module, names: Sequence[str]) -> dict[str, int]:
    """Channels that each named module puts out, seen in one forward pass of an empty 64 x 64 image."""
    channels: dict[str, int] = {}

    def watch(name: str) -> torch.utils.hooks.RemovableHandle:
        def hook(_module: nn.Module, inputs: tuple[object, ...], output: object) -> None:
            if len(inputs) == 1 and isinstance(output, torch.Tensor) and output.dim() == 4:
                channels[name] = int(output.shape[1])

        return network.get_submodule(name).register_forward_hook(hook)

    handles = [watch(name) for name in names]
    first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    modes = {module: module.training for module in network.modules()}
    network.eval()
    with torch.no_grad():
        network(torch.zeros(1, first.in_channels, 64, 64, device=first.weight.device))
    for module, mode in modes.items():
        module.training = mode
    for handle in handles:
        handle.remove()
    for name in names:
        if name not in channels:
            raise InputError(
                f"The module '{name}' does not turn one input into features (B, C, h, w); name other targets."
            )
    return channels
