"""A pre-trained network of which a small part is trained: which part is one declared value."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from doll_monai.networks.conv_adapter import AdapterBlock, insert_conv_adapters
from doll_monai.networks.lora import LORA_PARTS, fold_lora, insert_lora, lora_layers
from doll_monai.networks.places import inside, within
from doll_monai.networks.scale_shift import fold_scale_shift, insert_scale_shift
from doll_monai.utils.errors import InputError

TUNINGS = ("adapter", "lora", "scale_shift", "bias", "head", "full")
"""What is trained beside the head: bottlenecks, low-rank factors, scales and shifts, biases, nothing, everything."""

SETTINGS = {
    "adapter": ("targets", "reduction"),
    "lora": ("targets", "rank"),
    "scale_shift": ("targets",),
    "bias": ("targets",),
}
"""The arguments of ``AdaptedNetwork`` that decide which weights are trained."""

EVERYWHERE = (".*",)
TARGETS = {"adapter": (r"backbone\.layer[1-4]\.\d+", "decoder")}
"""Places of a tuning when none are given; ``EVERYWHERE`` for the others."""


class AdaptedNetwork(nn.Module):
    """A pre-trained network of which only a small part and the head are trained.

    =============== ====================================================================================
    tuning          trained beside the head
    =============== ====================================================================================
    ``adapter``     a ``ConvAdapter`` behind each module whose whole name matches ``targets``
    ``lora``        a correction of low rank to each convolution in ``targets`` (LoRA, arXiv 2106.09685)
    ``scale_shift`` a scale and a shift behind each normalization in ``targets`` (SSF, arXiv 2210.08823)
    ``bias``        biases in ``targets``, shifts of normalizations among them (BitFit, arXiv 2106.10199)
    ``head``        nothing
    ``full``        everything
    =============== ====================================================================================

    It starts as the pre-trained network to the last bit. The frozen part stays in evaluation mode whatever
    ``train()`` says: its BatchNorm statistics and dropout are still. With ``full`` nothing is frozen and nothing
    inserted, so that the same bundle trains the network from scratch or fine-tunes all of it.

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
            targets = TARGETS.get(tuning, EVERYWHERE)
        self.targets = (targets,) if isinstance(targets, str) else tuple(targets)
        self.tuning = tuning
        self.reduction = reduction
        self.rank = rank
        self.head = head
        plain_names = list(network.state_dict())
        if tuning == "adapter":
            insert_conv_adapters(network, self.targets, reduction, head)
        elif tuning == "lora":
            insert_lora(network, self.targets, rank, head)
        elif tuning == "scale_shift":
            insert_scale_shift(network, self.targets, head)
        self.network = network
        self._pretrained_names = self._match_names(plain_names)
        if tuning != "full":
            self._freeze()
        self.train(self.training)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Args: x: (B, 1, H, W). Returns: (B, T, H, W) logits."""
        return self.network(x)

    def train(self, mode: bool = True) -> AdaptedNetwork:
        """Set training mode of the trainable part; the frozen part stays in evaluation mode."""
        super().train(mode)
        if self.tuning != "full":
            self.network.eval()
            for module in self._trained_modules().values():
                module.train(mode)
        return self

    def settings(self) -> dict[str, Any]:
        """The arguments that decide which weights are trained; ``adapter.pt`` keeps them."""
        values = {"targets": list(self.targets), "reduction": self.reduction, "rank": self.rank}
        return {"head": self.head, **{name: values[name] for name in SETTINGS.get(self.tuning, ())}}

    def pretrained_names(self) -> dict[str, str]:
        """Names in ``state_dict()`` of the weights that pre-training gives, to their names in its checkpoint.

        Those are all weights but the adapters' and the head's.
        """
        return dict(self._pretrained_names)

    def trainable_state_dict(self) -> dict[str, torch.Tensor]:
        """Weights of adapters and head alone, by their names in ``state_dict()``; what ``adapter.pt`` holds."""
        trained = {name for name, parameter in self.named_parameters() if parameter.requires_grad}
        return {
            name: value
            for name, value in self.state_dict().items()
            if name in trained or name not in self._pretrained_names
        }

    def merge(self) -> nn.Module:
        """The same network without adapters, a copy in evaluation mode: as fast as the pre-trained one, scriptable.

        Corrections of low rank are added to their convolutions, scales and shifts multiplied into the normalizations
        before them. The output is the same but for rounding.

        Raises:
            InputError: with ``tuning="adapter"``.
        """
        if self.tuning == "adapter":
            raise InputError("tuning 'adapter' cannot be merged: its bottlenecks are not linear; use it as it is.")
        network = copy.deepcopy(self.network)
        fold_lora(network)
        fold_scale_shift(network)
        return network.requires_grad_(True).eval()

    def _freeze(self) -> None:
        self.network.requires_grad_(False)
        for module in self._trained_modules().values():
            module.requires_grad_(True)
        if self.tuning == "bias":
            names = self._biases()
            for name, parameter in self.network.named_parameters():
                if name in names:
                    parameter.requires_grad_(True)

    def _biases(self) -> set[str]:
        names = {
            name
            for name, _ in self.network.named_parameters()
            if name.endswith("bias") and inside(name, self.targets) and not within(name, self.head)
        }
        if not names:
            raise InputError(f"The network has no bias in {list(self.targets)} to train; choose others.")
        return names

    def _trained_modules(self) -> dict[str, nn.Module]:
        """Modules of which everything is trained, by name in this network: adapters and head."""
        modules = {self.head: self.network.get_submodule(self.head)}
        for name, module in self.network.named_modules():
            if isinstance(module, AdapterBlock):
                modules[f"{name}.adapter"] = module.adapter
        for name, layer in lora_layers(self.network).items():
            modules.update({f"{name}.{part}": getattr(layer, part) for part in LORA_PARTS})
        return {f"network.{name}": module for name, module in modules.items()}

    def _match_names(self, plain_names: Sequence[str]) -> dict[str, str]:
        """Inserting adapters keeps the order of the weights that were there before."""
        adapters = [name for name in self._trained_modules() if name != f"network.{self.head}"]
        names = [name for name in self.state_dict() if not any(within(name, adapter) for adapter in adapters)]
        matched = zip(names, plain_names, strict=True)
        return {name: plain for name, plain in matched if not within(plain, self.head)}
