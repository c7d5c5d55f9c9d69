"""A network's parameters: which are trained, at which rate, and what the network is called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import nn

from doll_monai.utils.errors import InputError


class ParameterCount(NamedTuple):
    trainable: int
    total: int

    def __str__(self) -> str:
        return f"{self.trainable:,} of {self.total:,} parameters ({self.trainable / self.total:.2%})"


def count_parameters(network: nn.Module) -> ParameterCount:
    """How many of a network's parameters are trained."""
    trainable = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    return ParameterCount(trainable, sum(parameter.numel() for parameter in network.parameters()))


def parameter_groups(network: nn.Module, rates: Mapping[str, float], default: float) -> list[dict[str, Any]]:
    """Optimizer groups of the trained parameters, with a learning rate of their own for some parts of a network.

    MONAI's ``generate_param_groups`` takes frozen parameters too and says nothing about a part that is not there.
    ``rates`` maps a part (prefix of its parameters' names) to its learning rate; ``InputError`` when the network has no
    such part, unless its rate is the default.
    """
    groups: dict[str, list[nn.Parameter]] = {part: [] for part in (*rates, "")}
    for name, parameter in network.named_parameters():
        groups[next((part for part in rates if name.startswith(f"{part}.")), "")].append(parameter)
    for part, rate in rates.items():
        if not groups[part] and rate != default:
            raise InputError(f"network_def has no {part} that could learn at a rate of its own; give it no other rate.")
    trained = {part: [parameter for parameter in group if parameter.requires_grad] for part, group in groups.items()}
    return [{"params": group, "lr": rates.get(part, default)} for part, group in trained.items() if group]


def describe_network(network: nn.Module) -> str:
    """Names of a network's class and of those of its parts, as ``AdaptedNetwork(PSPNet(DilatedResNet))``."""
    inner = [getattr(network, name) for name in ("network", "backbone") if hasattr(network, name)]
    parts = ", ".join(describe_network(part) for part in (*inner, *getattr(network, "members", ())))
    return type(network).__name__ + (f"({parts})" if parts else "")
