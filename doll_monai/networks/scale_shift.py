"""A scale and a shift for each channel behind the normalizations of a frozen network (SSF, arXiv 2210.08823)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from doll_monai.networks.conv_adapter import AdapterBlock
from doll_monai.networks.places import inside, replace_module, within
from doll_monai.utils.errors import InputError

Normalization = nn.BatchNorm2d | nn.SyncBatchNorm | nn.InstanceNorm2d | nn.GroupNorm | nn.LayerNorm


class ScaleShift(nn.Module):
    """What ``(1 + scale) y + shift`` adds to y.

    The paper draws the scale around 1 and the shift around 0; both start at zero here, so that at first nothing is
    added, and weight decay draws towards the pre-trained network.

    Args:
        shape: of scale and shift, to be broadcast: (C, 1, 1) for (B, C, h, w), (C,) where the channels are last.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(*shape))
        self.shift = nn.Parameter(torch.zeros(*shape))

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        """Args: y: (B, C, h, w), or (..., C). Returns: the correction, of the same shape."""
        return self.scale * y + self.shift


def insert_scale_shift(network: nn.Module, targets: Sequence[str], head: str) -> None:
    """Put a ``ScaleShift`` behind every normalization outside the head, in place.

    Args:
        network: any network.
        targets: regular expressions; normalizations of this name, or inside a module of this name, are taken.
        head: name of the module that gets none.

    Raises:
        InputError: when there is no normalization.
    """
    found = [
        (name, module)
        for name, module in network.named_modules()
        if isinstance(module, Normalization) and inside(name, targets) and not within(name, head)
    ]
    if not found:
        raise InputError(f"The network has no normalization in {list(targets)} to scale and shift; choose others.")
    for name, norm in found:
        replace_module(network, name, AdapterBlock(norm, ScaleShift(_shape(norm))))


def fold_scale_shift(network: nn.Module) -> None:
    """Multiply scales and shifts into the normalizations before them, and take them out, in place."""
    for name, block in list(network.named_modules()):
        if isinstance(block, AdapterBlock) and isinstance(block.adapter, ScaleShift):
            norm, adapter = block.base, block.adapter
            assert isinstance(norm, Normalization)
            scale, shift = 1 + adapter.scale.detach(), adapter.shift.detach()
            if not isinstance(norm, nn.LayerNorm):
                scale, shift = scale.flatten(), shift.flatten()
            norm.bias = nn.Parameter(shift if norm.bias is None else norm.bias.detach() * scale + shift)
            norm.weight = nn.Parameter(scale if norm.weight is None else norm.weight.detach() * scale)
            replace_module(network, name, norm)


def _shape(norm: Normalization) -> tuple[int, ...]:
    if isinstance(norm, nn.LayerNorm):
        return norm.normalized_shape
    return (norm.num_channels if isinstance(norm, nn.GroupNorm) else norm.num_features, 1, 1)
