"""Segmentation adapters: small trainable parts inside a frozen, pre-trained network.

"Segmentation adapter" has no published definition that was available; the convolutional bottleneck, its places and
its width here are ours, close to Conv-Adapter (arXiv 2208.07463).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import nn

TUNINGS = ("adapter", "head", "full")
"""What is trained: adapters and head, the head alone, or everything."""


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


class AdaptedNetwork(nn.Module):
    """A pre-trained network of which only adapters and head are trained.

    The frozen part stays in evaluation mode whatever ``train()`` says: its BatchNorm statistics and dropout are
    still. With ``tuning="full"`` nothing is frozen and no adapter is inserted, so that the same bundle trains the
    network from scratch or fine-tunes all of it.

    Args:
        network: a segmentation network ``(B, 1, H, W) -> (B, T, H, W)``; it is taken over, not copied.
        tuning: ``adapter``, ``head`` or ``full``.
        targets: regular expressions; a module whose whole name matches one gets an adapter behind it.
        reduction: an adapter's width is its channels divided by this (at least 4).
        head: name of the module that belongs to the classes; it is always trained.

    Raises:
        ValueError: for an unknown ``tuning``, or when no module matches ``targets`` or ``head``.
    """

    def __init__(
        self,
        network: nn.Module,
        tuning: str = "adapter",
        targets: Sequence[str] = (r"backbone\.layer[1-4]\.\d+", "decoder"),
        reduction: int = 8,
        head: str = "head",
    ) -> None:
        super().__init__()
        if tuning not in TUNINGS:
            raise ValueError(f"tuning must be one of {', '.join(TUNINGS)}, not '{tuning}'.")
        if head not in dict(network.named_modules()):
            raise ValueError(f"The network has no module '{head}' to train as its head.")
        self.tuning = tuning
        self.head = head
        if tuning == "adapter":
            _insert_adapters(network, targets, reduction)
        self.network = network
        if tuning != "full":
            self.network.requires_grad_(False)
            for module in self._trainable_modules():
                module.requires_grad_(True)
        self.train(self.training)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Args: x: (B, 1, H, W). Returns: (B, T, H, W) logits."""
        return self.network(x)

    def train(self, mode: bool = True) -> AdaptedNetwork:
        """Set training mode of the trainable part; the frozen part stays in evaluation mode."""
        super().train(mode)
        if self.tuning != "full":
            self.network.eval()
            for module in self._trainable_modules():
                module.train(mode)
        return self

    def _trainable_modules(self) -> list[nn.Module]:
        adapters = [module.adapter for module in self.network.modules() if isinstance(module, AdapterBlock)]
        return [*adapters, self.network.get_submodule(self.head)]

    def trainable_state_dict(self) -> dict[str, torch.Tensor]:
        """Weights of adapters and head alone, by their names in ``state_dict()``; what ``adapter.pt`` holds."""
        names = {name for name, parameter in self.named_parameters() if parameter.requires_grad}
        return {name: value for name, value in self.state_dict().items() if name in names}


def base_name(name: str) -> str:
    """Name of a weight in the network as it was before adapters were inserted, with ``network.`` taken off."""
    return name.removeprefix("network.").replace(".base.", ".")


def _insert_adapters(network: nn.Module, targets: Sequence[str], reduction: int) -> None:
    names = [name for name, _ in network.named_modules() if any(re.fullmatch(target, name) for target in targets)]
    if not names:
        raise ValueError(f"No module of the network matches {list(targets)}; adapters have no place to go.")
    channels = _output_channels(network, names)
    for name in names:
        parent_name, _, child = name.rpartition(".")
        parent = network.get_submodule(parent_name)
        adapter = ConvAdapter(channels[name], max(channels[name] // reduction, 4))
        setattr(parent, child, AdapterBlock(network.get_submodule(name), adapter))


def _output_channels(network: nn.Module, names: Sequence[str]) -> dict[str, int]:
    """Channels that each named module puts out, seen in one forward pass of an empty 64 x 64 image."""
    channels: dict[str, int] = {}

    def watch(name: str) -> torch.utils.hooks.RemovableHandle:
        def hook(_module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
            channels[name] = int(output.shape[1])

        return network.get_submodule(name).register_forward_hook(hook)

    handles = [watch(name) for name in names]
    first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    was_training = network.training
    network.eval()
    with torch.no_grad():
        network(torch.zeros(1, first.in_channels, 64, 64))
    network.train(was_training)
    for handle in handles:
        handle.remove()
    return channels
