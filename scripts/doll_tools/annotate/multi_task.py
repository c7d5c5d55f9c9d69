"""Several adapters on one pre-trained network."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from doll_monai.networks.adapter_file import check_adapter, read_adapter
from doll_monai.networks.adapter_layers import within
from doll_monai.networks.adapters import AdaptedNetwork
from doll_monai.networks.weights import load_pretrained
from doll_monai.utils.errors import InputError


class SharedBackbone(nn.Module):
    """A backbone that several networks hold: inside ``hold()`` it runs once for an input, whoever asks.

    Args:
        backbone: it must not be followed by layers that overwrite its features.
    """

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self._holding = False
        self._held: tuple[torch.Tensor, Any] | None = None

    def forward(self, x: torch.Tensor) -> Any:
        """Args: x: what the backbone takes. Returns: its features; held ones if x is the same tensor."""
        if self._held is not None and self._held[0] is x:
            return self._held[1]
        features = self.backbone(x)
        if self._holding:
            self._held = (x, features)
        return features

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Keep the features of the last input as long as this lasts."""
        self._holding = True
        try:
            yield
        finally:
            self._holding, self._held = False, None


class MultiTaskNetwork(nn.Module):
    """One pre-trained network with an adapter for each of several tasks, for use, not for training.

    The frozen weights are in memory once, and a task is switched without reading or copying any. Tasks whose
    adapters are behind the backbone (tuning ``head``, or ``targets`` outside of it) share one pass through it.

    Args:
        network: a plain network of the architecture that was pre-trained; its head's number of classes does not
            matter. It is taken over, not copied.
        pretrained: its checkpoint.
        adapters: name of a task to its ``adapter.pt``; the first is active at first.
        backbone: name of the module that tasks may share; a network without it shares none.
        head: name of the module that belongs to the classes.

    Raises:
        InputError: when there is no adapter, a file is missing, or an adapter belongs to another checkpoint or network.
    """

    def __init__(
        self,
        network: nn.Module,
        pretrained: str | os.PathLike,
        adapters: Mapping[str, str | os.PathLike],
        backbone: str = "backbone",
        head: str = "head",
    ) -> None:
        super().__init__()
        if not adapters:
            raise InputError("A network for several tasks needs the adapter.pt of at least one.")
        load_pretrained(AdaptedNetwork(network, tuning="head", head=head), pretrained)
        parts = dict(network.named_modules())
        self.shared = SharedBackbone(parts.get(backbone, nn.Identity()))
        self.sharing: list[str] = []
        self.tasks = nn.ModuleDict()
        for task, path in adapters.items():
            adapter = read_adapter(path, pretrained)
            shares = backbone in parts and not any(within(name, f"network.{backbone}") for name in adapter["model"])
            memo = {id(parts[backbone]): self.shared} if shares else {}
            adapted = _adapted(_view(network, adapter, memo), adapter, head)
            check_adapter(adapter, adapted, path)
            adapted.load_state_dict(adapter["model"], strict=False)
            self.tasks[task] = adapted
            self.sharing += [task] if shares else []
        self.active = next(iter(adapters))
        self.requires_grad_(False)
        self.eval()

    def activate(self, task: str) -> None:
        """Choose the task that ``forward`` computes.

        Raises:
            InputError: when there is no such task.
        """
        if task not in self.tasks:
            raise InputError(f"There is no task '{task}'; there are: {', '.join(self.tasks)}.")
        self.active = task

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Args: x: (B, 1, H, W). Returns: (B, T, H, W) logits of the active task."""
        logits: torch.Tensor = self.tasks[self.active](x)
        return logits

    def predict_all(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Args: x: (B, 1, H, W). Returns: logits of every task; those in ``sharing`` from one backbone pass."""
        with self.shared.hold():
            return {task: network(x) for task, network in self.tasks.items()}


def _view(network: nn.Module, adapter: dict[str, Any], memo: dict[int, Any]) -> nn.Module:
    """A copy of a network that holds the same tensors, but for those that were trained for the task."""
    trained = {name.removeprefix("network.") for name in adapter["model"]}
    for name, tensor in (*network.named_parameters(), *network.named_buffers()):
        if name not in trained:
            memo[id(tensor)] = tensor
    return copy.deepcopy(network, memo)


def _adapted(network: nn.Module, adapter: dict[str, Any], head: str) -> AdaptedNetwork:
    """A task's network with its adapters and a head of its number of classes."""
    for name, value in adapter["model"].items():
        plain = name.removeprefix("network.")
        if within(plain, head):
            _fit(network, plain, value)
    return AdaptedNetwork(network, adapter["tuning"], **{**adapter["settings"], "head": head})


def _fit(network: nn.Module, name: str, value: torch.Tensor) -> None:
    """Give a weight of the head another number of classes, its first dimension."""
    module_name, _, weight = name.rpartition(".")
    module = dict(network.named_modules()).get(module_name)
    own = getattr(module, weight, None)
    if module is None or not isinstance(own, nn.Parameter) or own.shape[1:] != value.shape[1:]:
        return  # check_network names it
    setattr(module, weight, nn.Parameter(own.new_zeros(value.shape)))
    if isinstance(module, nn.Conv2d):
        module.out_channels = len(value)
