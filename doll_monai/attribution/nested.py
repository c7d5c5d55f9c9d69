"""The trapezoidal rule with steps added where the path needs them.

The change of the logit over each interval between two nodes is known, and what the two gradients say of it as well. So
the completeness error is known interval by interval, and the worst ones are halved until the sum is good enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch

from doll_monai.attribution.group import Group

EPSILON = 1e-3
"""Smallest change of a logit that a completeness error is relative to."""
HALVED_AT_ONCE = 8
"""Intervals of an image that are halved together, in one forward pass."""


def completeness_error(total: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
    """``|sum of attributions - (f(x) - f(b))| / max(|f(x) - f(b)|, 1e-3)`` (Sundararajan et al. 2017, prop. 1)."""
    return (total - change).abs() / change.abs().clamp(min=EPSILON)


class _Node(NamedTuple):
    """A place on the path, from 0 to 1: derivative of the logit along the path, logit, and gradient (C, h, w)."""

    place: float
    slope: float
    logit: float
    gradient: torch.Tensor


@dataclass
class _Pair:
    """An (image, target): f(x) - f(b), and the nodes known along its path, in ascending order."""

    target: int
    change: torch.Tensor
    nodes: list[_Node] = field(default_factory=list)

    @property
    def steps(self) -> int:
        return len(self.nodes) - 1

    def curve(self) -> tuple[torch.Tensor, ...]:
        """Places, slopes and logits of the nodes."""
        return torch.tensor([node[:3] for node in self.nodes], dtype=torch.float64).unbind(1)

    def error(self) -> float:
        """The completeness error."""
        places, slopes, _ = self.curve()
        return float(completeness_error(torch.trapezoid(slopes, places), self.change))

    def shares(self) -> torch.Tensor:
        """Each interval's share of the sum of |change of the logit - integral|, from 0 to 1."""
        places, slopes, logits = self.curve()
        residuals = (logits.diff() - (slopes[1:] + slopes[:-1]) / 2 * places.diff()).abs()
        return residuals / residuals.sum().clamp(min=1e-12)

    def average(self) -> torch.Tensor:
        """The gradient averaged along the path, (C, h, w)."""
        places = [0.0, *(node.place for node in self.nodes), 1.0]
        total = torch.zeros_like(self.nodes[0].gradient)
        for node, before, after in zip(self.nodes, places, places[2:], strict=False):
            total.add_(node.gradient, alpha=(after - before) / 2)
        return total


def nested(
    group: Group, change: torch.Tensor, n_steps: int, tolerance: float, max_steps: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Path-averaged gradients (P, C, h, w) and steps (P,) of a group's P pairs of image and target.

    Every image is on its own after the first steps, so that its result does not depend on what its neighbors need.
    ``change`` is f(x) - f(b), (P,) on the CPU; for the others see ``path_gradient``.
    """
    changes = iter(change)
    pairs = [[_Pair(target, next(changes)) for target in own] for own in group.targets]
    _add(group, range(len(pairs)), pairs, [step / n_steps for step in range(n_steps + 1)])
    for image, own in enumerate(pairs):
        while left := [pair for pair in own if pair.steps < max_steps and pair.error() > tolerance]:
            # none of them was left before, so they have had the same nodes so far
            places, count = left[0].curve()[0], min(HALVED_AT_ONCE, max_steps - left[0].steps)
            shares = torch.stack([pair.shares() for pair in left]).sum(0)
            worst = shares.argsort(descending=True, stable=True)[:count].sort().values
            _add(group, [image], [left], ((places[worst] + places[worst + 1]) / 2).tolist())
    average = torch.stack([pair.average() for own in pairs for pair in own])
    return average, torch.tensor([pair.steps for own in pairs for pair in own])


def _add(group: Group, images: Sequence[int], pairs: Sequence[list[_Pair]], places: list[float]) -> None:
    """Take more nodes of some images' pairs."""
    targets = [[pair.target for pair in own] for own in pairs]
    for image, slot, part, gradients, logits in group.points(images, targets, places):
        slopes = torch.einsum("mchw,chw->m", gradients, group.difference[images[image]])
        known = map(_Node, places[part], slopes.tolist(), logits.tolist(), gradients)
        pair = pairs[image][slot]
        pair.nodes = sorted([*pair.nodes, *known], key=lambda node: node.place)
