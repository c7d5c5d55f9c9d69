"""The trapezoidal rule with steps added where the path needs them.

The change of the logit over each interval between two nodes is known, and what the two gradients say of it as well. So
the completeness error is known interval by interval, and the worst ones are halved until the sum is good enough.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import torch

from doll_monai.attribution.group import Group
from doll_monai.attribution.quadrature import completeness_error

HALVED_AT_ONCE = 8
"""Intervals of an image that are halved together, in one forward pass."""


@dataclass
class _Node:
    """A place on the path, from 0 to 1: gradient (C, h, w), its derivative along the path, and the logit."""

    place: float
    gradient: torch.Tensor
    slope: float
    logit: float


@dataclass
class _Pair:
    """An (image, target): f(x) - f(b), and the nodes known along its path, in ascending order."""

    target: int
    change: torch.Tensor
    nodes: list[_Node] = field(default_factory=list)

    @property
    def steps(self) -> int:
        """Intervals between the nodes."""
        return len(self.nodes) - 1

    def weights(self) -> list[float]:
        """Of the trapezoidal rule, one a node."""
        places = [0.0, *(node.place for node in self.nodes), 1.0]
        return [(after - before) / 2 for before, after in zip(places, places[2:], strict=False)]

    def error(self) -> float:
        """The completeness error."""
        total = sum(weight * node.slope for weight, node in zip(self.weights(), self.nodes, strict=True))
        return float(completeness_error(torch.tensor(total), self.change))

    def shares(self) -> torch.Tensor:
        """Each interval's share of the sum of |change of the logit - integral|, from 0 to 1, one an interval."""
        parts = [b.logit - a.logit - (a.slope + b.slope) / 2 * (b.place - a.place) for a, b in pairwise(self.nodes)]
        residuals = torch.tensor(parts).abs()
        return residuals / residuals.sum().clamp(min=1e-12)

    def average(self) -> torch.Tensor:
        """The gradient averaged along the path, (C, h, w)."""
        total = torch.zeros_like(self.nodes[0].gradient)
        for weight, node in zip(self.weights(), self.nodes, strict=True):
            total.add_(node.gradient, alpha=weight)
        return total


def nested(
    group: Group, change: torch.Tensor, n_steps: int, tolerance: float, max_steps: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Path-averaged gradients (P, C, h, w) and steps (P,) of a group's P pairs of image and target.

    Every image is on its own after the first steps, so that its result does not depend on what its neighbors need.

    Args:
        group: the images.
        change: (P,) f(x) - f(b), on the CPU.
        n_steps, max_steps: steps of equal length to begin with, and the most of a pair.
        tolerance: completeness error at which a pair is left.
    """
    changes = iter(change)
    pairs = [[_Pair(target, next(changes)) for target in own] for own in group.targets]
    _add(group, list(range(len(pairs))), pairs, [step / n_steps for step in range(n_steps + 1)])
    for image, own in enumerate(pairs):
        while left := [pair for pair in own if pair.steps < max_steps and pair.error() > tolerance]:
            _add(group, [image], [left], _middles(left, max_steps))
    average = torch.stack([pair.average() for own in pairs for pair in own])
    return average, torch.tensor([pair.steps for own in pairs for pair in own])


def _middles(pairs: list[_Pair], max_steps: int) -> list[float]:
    """Halfway points of the intervals that have the largest part in the errors of an image's pairs.

    The same ones for all of these pairs; as none of them was left before, they have had the same nodes so far.
    """
    middles = [(a.place + b.place) / 2 for a, b in pairwise(pairs[0].nodes)]
    total = torch.stack([pair.shares() for pair in pairs]).sum(0)
    count = min(HALVED_AT_ONCE, max_steps - len(middles))
    worst = total.argsort(descending=True, stable=True)[:count].tolist()
    return [middles[interval] for interval in sorted(worst)]


def _add(group: Group, images: list[int], pairs: list[list[_Pair]], places: list[float]) -> None:
    """Take more nodes of some images' pairs."""
    targets = [[pair.target for pair in own] for own in pairs]
    for image, slot, part, gradients, logits in group.points(images, targets, places):
        slopes = torch.einsum("mchw,chw->m", gradients, group.difference[images[image]])
        known = zip(places[part], gradients, slopes.tolist(), logits.tolist(), strict=True)
        nodes = pairs[image][slot].nodes
        nodes += [_Node(*values) for values in known]
        nodes.sort(key=lambda node: node.place)
