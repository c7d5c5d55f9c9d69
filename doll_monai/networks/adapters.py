"""A pre-trained network of which a small part is trained: which part is one declared value."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import torch
from monai.networks.utils import eval_mode
from torch import nn

from doll_monai.utils.errors import InputError, explained

TUNINGS = ("adapter", "lora", "scale_shift", "bias", "head", "full")
ADAPTER_TARGETS = (r"backbone\.(layer[1-4]|_blocks)\.\d+", "decoder")
"""Blocks and decoder of a ``PSPNet`` or a ``FeaturePyramid``."""
Normalization = nn.BatchNorm2d | nn.SyncBatchNorm | nn.InstanceNorm2d | nn.GroupNorm | nn.LayerNorm


class AdaptedNetwork(nn.Module):
    """A pre-trained network of which only a small part and the head are trained.

    It begins as the pre-trained network to the last bit. The frozen part stays in evaluation mode whatever
    ``train()`` says: its BatchNorm statistics and dropout are still. Trained beside the head, by ``tuning``:

    - ``adapter``: a ``conv_adapter`` behind each module whose whole name matches ``targets``;
    - ``lora``: a correction of low rank to each convolution in ``targets`` (LoRA, arXiv 2106.09685);
    - ``scale_shift``: a scale and a shift behind each normalization in ``targets`` (SSF, arXiv 2210.08823);
    - ``bias``: biases in ``targets``, shifts of normalizations among them (BitFit, arXiv 2106.10199);
    - ``head``: nothing;
    - ``full``: everything, from scratch or from pre-trained weights.

    Args:
        network: a segmentation network ``(B, 1, H, W) -> (B, T, H, W)``; it is taken over, not copied.
        targets: regular expressions for names of modules; None takes ``ADAPTER_TARGETS`` for ``adapter`` and the whole
            network for the others.
        reduction, rank: a bottleneck's width is its channels divided by this (at least 4); rank of ``lora``.
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
        targets = [targets] if isinstance(targets, str) else list(targets)
        self.tuning, self.head = tuning, head
        self.settings = {"targets": targets, "reduction": reduction, "rank": rank, "head": head}
        plain = network.state_dict(keep_vars=True)
        if tuning != "full":
            network.requires_grad_(False)
        if tuning == "adapter":
            insert_conv_adapters(network, targets, head, reduction)
        elif tuning == "lora":
            insert_lora(network, targets, head, rank)
        elif tuning == "scale_shift":
            insert_scale_shift(network, targets, head)
        elif tuning == "bias":
            biases = [name for name, _ in network.named_parameters() if name.endswith("bias")]
            for name in select(biases, targets, head, "bias"):
                network.get_parameter(name).requires_grad_(True)
        if tuning != "full":
            network.get_submodule(head).requires_grad_(True)
        self.network = network
        known = set(map(id, plain.values()))
        names = [name for name, weight in self.state_dict(keep_vars=True).items() if id(weight) in known]
        matched = zip(names, plain, strict=True)  # inserting adapters keeps the order of what was there before
        self.pretrained_names = {name: before for name, before in matched if not within(before, head)}
        """Names in ``state_dict()`` of all weights but the adapters' and the head's, to those in the plain network."""
        self.train(self.training)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network(x)

    def train(self, mode: bool = True) -> AdaptedNetwork:
        super().train(mode)
        if self.tuning != "full":
            self.network.eval()
            self.network.get_submodule(self.head).train(mode)
        return self

    def trainable_state_dict(self) -> dict[str, torch.Tensor]:
        """What ``adapter.pt`` holds: trained weights, and statistics of the head, by names in ``state_dict()``."""
        trained = {name for name, parameter in self.named_parameters() if parameter.requires_grad}
        state = self.state_dict()
        return {name: state[name] for name in state if name in trained or name not in self.pretrained_names}


class AdapterBlock(nn.Module):
    """A frozen module followed by its adapter: ``base(x) + adapter(base(x))``."""

    def __init__(self, base: nn.Module, adapter: nn.Module) -> None:
        super().__init__()
        self.base = base
        self.adapter = adapter

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.base(x)
        return y + self.adapter(y)


def conv_adapter(channels: int, width: int) -> nn.Sequential:
    """Bottleneck ``1 x 1 -> 3 x 3 -> 1 x 1``, (B, C, h, w) -> (B, C, h, w), which adds nothing at first.

    "Segmentation adapter" has no published definition that was available; the bottleneck, its places and its width
    are ours, close to Conv-Adapter (arXiv 2208.07463).
    """
    layers = {
        "down": nn.Conv2d(channels, width, kernel_size=1),
        "down_act": nn.ReLU(inplace=True),
        "middle": nn.Conv2d(width, width, kernel_size=3, padding=1),
        "middle_act": nn.ReLU(inplace=True),
        "up": nn.Conv2d(width, channels, kernel_size=1),
    }
    for parameter in layers["up"].parameters():
        nn.init.zeros_(parameter)
    return nn.Sequential(OrderedDict(layers))


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


def select(names: Iterable[str], targets: Sequence[str], head: str, what: str, inside: str = r"(\..+)?") -> list[str]:
    """Those of some names outside the head that match a regular expression of ``targets``, or are inside of a match.

    ``InputError`` when no ``what`` matches, or a target is no regular expression.
    """
    try:
        patterns = [re.compile(f"(?:{target}){inside}") for target in targets]
    except re.error as error:
        raise InputError(f"targets has '{error.pattern!s}', which is no regular expression: {error.msg}.") from error
    found = [name for name in names if not within(name, head) and any(pattern.fullmatch(name) for pattern in patterns)]
    if not found:
        raise InputError(f"The network has no {what} in {list(targets)} that could be tuned; choose other targets.")
    return found


def insert_conv_adapters(network: nn.Module, targets: Sequence[str], head: str, reduction: int) -> None:
    """Put a ``conv_adapter`` behind every module whose whole name matches, in place; its width is C / reduction >= 4.

    ``InputError`` when no module matches, or one does not turn one input into features (B, C, h, w).
    """
    modules = dict(network.named_modules())
    names = select(filter(None, modules), targets, head, "module", inside="")
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
        adapter = conv_adapter(channels[name], max(channels[name] // reduction, 4))
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
    """Give every convolution in ``targets`` a correction of low rank by peft, in place, which is zero at first.

    Left out are convolutions in groups and those that pad with anything but zeros, which peft does not imitate;
    ``InputError`` when there is no other, or peft is not installed.
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
