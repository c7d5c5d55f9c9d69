"""The trapezoidal rule with steps added where the path needs them.

The change of the logit over each interval between two nodes is known, and what the two gradients say of it as well. So
the completeness error is known interval by interval, and the worst ones are halved until the sum is good enough.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from doll_monai.attribution.completeness import completeness_error
from doll_monai.attribution.sums import scalar_products, weighted_sum

if TYPE_CHECKING:
    from doll_monai.attribution.integration import Group

HALVED_AT_ONCE = 8
"""Intervals of an image that are halved together, in one forward pass."""


@dataclass
class _Pair:
    """An (image, target) and what is known along its path, in the order in which the nodes were added.

    Attributes:
        nodes: between 0 and 1, N of them.
        gradients: (M, C, h, w) each, N in all.
        slopes: directional derivatives along the path, (N,) on the CPU.
        logits: (N,) on the CPU.
    """

    nodes: torch.Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.float64))
    gradients: list[torch.Tensor] = field(default_factory=list)
    slopes: torch.Tensor = field(default_factory=lambda: torch.empty(0))
    logits: torch.Tensor = field(default_factory=lambda: torch.empty(0))

    @property
    def steps(self) -> int:
        """Intervals between the nodes."""
        return len(self.nodes) - 1

    def weights(self) -> torch.Tensor:
        """Of the trapezoidal rule, (N,)."""
        nodes, order = self.nodes.sort()
        weights = torch.zeros_like(nodes)
        weights[order[1:]] += nodes.diff() / 2
        weights[order[:-1]] += nodes.diff() / 2
        return weights.float()

    def integral(self) -> torch.Tensor:
        """Change of the logit from the gradients."""
        return (self.weights() * self.slopes).sum()

    def residuals(self) -> torch.Tensor:
        """|change of the logit - integral| of each interval, from 0 to 1, (N - 1,)."""
        nodes, order = self.nodes.sort()
        slopes = self.slopes[order]
        return (self.logits[order].diff() - (slopes[1:] + slopes[:-1]) / 2 * nodes.diff().float()).abs()

    def middles(self, intervals: list[int]) -> list[float]:
        """Halfway points of some intervals, counted from 0."""
        nodes = self.nodes.sort().values
        middles: list[float] = ((nodes[:-1] + nodes[1:]) / 2)[intervals].tolist()
        return middles

    def average(self) -> torch.Tensor:
        """The gradient averaged along the path, (C, h, w)."""
        parts = self.weights().split([len(part) for part in self.gradients])
        return torch.stack([weighted_sum(w.to(g.device), g) for w, g in zip(parts, self.gradients, strict=True)]).sum(0)

    def add(self, nodes: list[float], gradients: torch.Tensor, slopes: torch.Tensor, logits: torch.Tensor) -> None:
        """More nodes, anywhere."""
        self.nodes = torch.cat([self.nodes, torch.tensor(nodes, dtype=torch.float64)])
        self.gradients.append(gradients)
        self.slopes = torch.cat([self.slopes, slopes])
        self.logits = torch.cat([self.logits, logits])


def nested(
    group: Group, change: torch.Tensor, n_steps: int, tolerance: float, max_steps: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Path-averaged gradients (P, C, h, w) and steps (P,) of a group's P pairs of image and target.

    Every image is on its own after the first steps, so that its result does not depend on what its neighbors need.

    Args:
        group: the images.
        change: (P,) f(x) - f(b), on the CPU.
        n_steps: steps of equal length to begin with.
        tolerance: completeness error at which a pair is left.
        max_steps: most steps of a pair.
    """
    everybody = list(range(len(group.targets)))
    pairs = {(image, slot): _Pair() for image, wanted in enumerate(group.targets) for slot in range(len(wanted))}
    for (image, slot), pair in pairs.items():
        gradient, logit = group.at_baseline(image, group.targets[image][slot])
        slope = (gradient * group.difference[image]).sum()
        pair.add([0.0], gradient.unsqueeze(0), slope.cpu().view(1), logit.cpu().view(1))
    _take(
        group, pairs, everybody, [list(wanted) for wanted in group.targets], [(i + 1) / n_steps for i in range(n_steps)]
    )
    while True:
        sums = torch.stack([pair.integral() for pair in pairs.values()])
        errors = completeness_error(sums, change)
        above = {
            key: pair
            for key, pair, error in zip(pairs, pairs.values(), errors.tolist(), strict=True)
            if error > tolerance and pair.steps < max_steps
        }
        if not above:
            break
        for image in sorted({image for image, _ in above}):
            slots = [slot for number, slot in above if number == image]
            _halve(group, pairs, image, slots, max_steps)
    average = torch.stack([pair.average() for pair in pairs.values()])
    return average, torch.tensor([pair.steps for pair in pairs.values()])


def _halve(group: Group, pairs: dict[tuple[int, int], _Pair], image: int, slots: list[int], max_steps: int) -> None:
    """Halve the intervals that have the largest part in the errors of an image's pairs.

    The same ones for all of these pairs; as none of them was left before, they have had the same nodes so far.
    """
    pair = pairs[image, slots[0]]
    shares = [pairs[image, slot].residuals() for slot in slots]
    total = torch.stack([share / share.sum().clamp(min=1e-12) for share in shares]).sum(0)
    count = min(HALVED_AT_ONCE, len(total), max_steps - len(total))
    worst = total.argsort(descending=True, stable=True)[:count].tolist()
    nodes = pair.middles(sorted(worst))
    _take(group, pairs, [image], [[group.targets[image][slot] for slot in slots]], nodes, {image: slots})


def _take(
    group: Group,
    pairs: dict[tuple[int, int], _Pair],
    images: list[int],
    targets: list[list[int]],
    nodes: list[float],
    slots: dict[int, list[int]] | None = None,
) -> None:
    """Add gradients and logits at more nodes of some pairs."""
    done = 0
    for points in group.at(images, targets, nodes):
        count = len(points[0][2])
        slopes = torch.stack([scalar_products(g, group.difference[image]) for image, _, g, _ in points]).cpu()
        logits = torch.stack([f for *_, f in points]).cpu()
        for (image, slot, gradient, _), own_slopes, own_logits in zip(points, slopes, logits, strict=True):
            own = slot if slots is None else slots[image][slot]
            pairs[image, own].add(nodes[done : done + count], gradient, own_slopes, own_logits)
        done += count
