"""A pre-trained network of which a small part is trained: which part is one declared value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from doll_monai.networks.adapter_layers import (
    adapter_modules,
    insert_conv_adapters,
    insert_lora,
    insert_scale_shift,
    select,
    within,
)
from doll_monai.utils.errors import InputError, explained

TUNINGS = ("adapter", "lora", "scale_shift", "bias", "head", "full")
ADAPTER_TARGETS = (r"backbone\.layer[1-4]\.\d+", "decoder")
"""Blocks and decoder of a ``PSPNet``."""


class AdaptedNetwork(nn.Module):
    """A pre-trained network of which only a small part and the head are trained.

    It begins as the pre-trained network to the last bit. The frozen part stays in evaluation mode whatever
    ``train()`` says: its BatchNorm statistics and dropout are still. Trained beside the head, by ``tuning``:

    - ``adapter``: a ``ConvAdapter`` behind each module whose whole name matches ``targets``;
    - ``lora``: a correction of low rank to each convolution in ``targets`` (LoRA, arXiv 2106.09685);
    - ``scale_shift``: a scale and a shift behind each normalization in ``targets`` (SSF, arXiv 2210.08823);
    - ``bias``: biases in ``targets``, shifts of normalizations among them (BitFit, arXiv 2106.10199);
    - ``head``: nothing;
    - ``full``: everything, from scratch or from pre-trained weights.

    Args:
        network: a segmentation network ``(B, 1, H, W) -> (B, T, H, W)``; it is taken over, not copied.
        tuning: see above.
        targets: regular expressions for names of modules; None takes blocks and decoder of a ``PSPNet`` for
            ``adapter`` and the whole network for the others.
        reduction: a bottleneck's width is its channels divided by this (at least 4).
        rank: rank of ``lora``.
        head: name of the module that belongs to the classes; it is always trained.

    Raises:
        InputError: for an unknown ``tuning``, when nothing matches ``targets`` or ``head``, or ``lora`` lacks peft.
    """

    @explained
    def __init__(
        self,
        network: nn.Module,
        tuning: str = "adapter",
        targets: Sequence[str] | str | None = None,
        reduction: int = 8,
        rank: int = 4,
        head: str = "head",
    ) -> None:
        super().__init__()
        if tuning not in TUNINGS:
            raise InputError(f"tuning must be one of {', '.join(TUNINGS)}, not '{tuning}'.")
        if head not in dict(network.named_modules()):
            raise InputError(f"The network has no module '{head}' to train as its head.")
        if reduction < 1 or rank < 1:
            raise InputError(f"reduction and rank must be 1 or more, not {reduction} and {rank}.")
        if targets is None:
            targets = ADAPTER_TARGETS if tuning == "adapter" else ".*"
        self.targets = (targets,) if isinstance(targets, str) else tuple(targets)
        self.tuning, self.reduction, self.rank, self.head = tuning, reduction, rank, head
        plain_names = list(network.state_dict())
        if tuning == "adapter":
            insert_conv_adapters(network, self.targets, head, reduction)
        elif tuning == "lora":
            insert_lora(network, self.targets, head, rank)
        elif tuning == "scale_shift":
            insert_scale_shift(network, self.targets, head)
        self.network = network
        adapters = [f"network.{name}" for name in adapter_modules(network)]
        names = [name for name in self.state_dict() if not any(within(name, adapter) for adapter in adapters)]
        # inserting adapters keeps the order of the weights that were there before
        matched = zip(names, plain_names, strict=True)
        self.pretrained_names = {name: plain for name, plain in matched if not within(plain, head)}
        """Names in ``state_dict()`` of all weights but the adapters' and the head's, to those in the plain network."""
        if tuning != "full":
            network.requires_grad_(False)
            for module in self._trained_modules():
                module.requires_grad_(True)
        if tuning == "bias":
            biases = [name for name, _ in network.named_parameters() if name.endswith("bias")]
            for name in select(biases, self.targets, head, "bias"):
                network.get_parameter(name).requires_grad_(True)
        self.train(self.training)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network(x)

    def train(self, mode: bool = True) -> AdaptedNetwork:
        super().train(mode)
        if self.tuning != "full":
            self.network.eval()
            for module in self._trained_modules():
                module.train(mode)
        return self

    def settings(self) -> dict[str, Any]:
        """The arguments that decide which weights are trained beside the tuning; ``adapter.pt`` keeps them."""
        return {"targets": list(self.targets), "reduction": self.reduction, "rank": self.rank, "head": self.head}

    def trainable_state_dict(self) -> dict[str, torch.Tensor]:
        """What ``adapter.pt`` holds: trained weights, and statistics of the head, by names in ``state_dict()``."""
        trained = {name for name, parameter in self.named_parameters() if parameter.requires_grad}
        state = self.state_dict()
        return {name: state[name] for name in state if name in trained or name not in self.pretrained_names}

    def _trained_modules(self) -> list[nn.Module]:
        """Modules of which everything is trained: adapters and head."""
        return [self.network.get_submodule(self.head), *adapter_modules(self.network).values()]
