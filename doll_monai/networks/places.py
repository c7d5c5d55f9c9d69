"""Places in a network: modules that regular expressions name, and putting another module there."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from torch import nn

from doll_monai.utils.errors import InputError


def matching(network: nn.Module, targets: Sequence[str], head: str) -> list[str]:
    """Names of the modules outside the head whose whole name matches a regular expression, outer ones first.

    Raises:
        InputError: when there is none, or an expression is not one.
    """
    matches = _matcher(targets)
    names = [name for name, _ in network.named_modules() if name and matches(name) and not within(name, head)]
    if not names:
        raise InputError(f"No module of the network matches {list(targets)}; adapters have no place to go.")
    return names


def inside(name: str, targets: Sequence[str]) -> bool:
    """Whether a module's name, or that of one that holds it, matches a regular expression as a whole."""
    matches = _matcher(targets)
    parts = name.split(".")
    return any(matches(".".join(parts[:depth])) for depth in range(1, len(parts) + 1))


def within(name: str, module: str) -> bool:
    """Whether a name is that of a module or of something in it."""
    return name == module or name.startswith(f"{module}.")


def replace_module(network: nn.Module, name: str, module: nn.Module) -> None:
    """Put a module in the place of the one with this name."""
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, module)


def _matcher(targets: Sequence[str]) -> Callable[[str], bool]:
    try:
        patterns = [re.compile(target) for target in targets]
    except re.error as error:
        raise InputError(f"targets holds '{error.pattern!s}', which is no regular expression: {error.msg}.") from error
    return lambda name: any(pattern.fullmatch(name) for pattern in patterns)
