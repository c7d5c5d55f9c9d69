"""The trapezoidal rule with steps added where the path needs them.

The change of the logit over each interval between two nodes is known, and what the two gradients say of it as well. So
the completeness error is known interval by interval, and the worst ones are halved until the sum is good enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from .completeness import completeness_error

if TYPE_CHECKING:
    from .integration import Group

HALVED_AT_ONCE = 8
"""Intervals of an image that are halved together, in one forward pass."""


@dataclass
class _Pair:
    """An (image, target) and what is known along its path; nodes ascend, (N,) and (N, C, h, w).

    Attributes:
        slopes: directional derivatives along the path, (N,) on the CPU.
        logits: (N,) on the CPU.
    """

    nodes: list[float]
    gradients: list[torch.Tensor]
    slopes: torch.Tensor
    logits: torch.Tensor

    def weights(self) -> torch.Tensor:
        """Of the trapezoidal rule."""
        gaps = torch.tensor(self.nodes, dtype=torch.float64).diff() / 2
        weights = torch.zeros(len(self.nodes), dtype=torch.float64)
        weights[1:] += gaps
        weights[:-1] += gaps
        return weights.float()

    def residuals(self) -> torch.Tensor:
        """|change of the logit - integral| of each interval, (N - 1,)."""
        gaps = torch.tensor(self.nodes, dtype=torch.float64).diff().float()
        return (self.logits.diff() - (self.slopes[1:] + self.slopes[:-1]) / 2 * gaps).abs()

    def add(
        self, nodes: list[float], gradients: list[torch.Tensor], slopes: torch.Tensor, logits: torch.Tensor
    ) -> None:
        """More nodes, anywhere."""
        everything = [*self.nodes, *nodes]
        order = sorted(range(len(everything)), key=everything.__getitem__)
        both = [*self.gradients, *gradients]
        self.nodes, self.gradients = [everything[i] for i in order], [both[i] for i in order]
        self.slopes = torch.cat([self.slopes, slopes])[order]
        self.logits = torch.cat([self.logits, logits])[order]


def nested(
    group: Group, change: torch.Tensor, n_steps: int, tolerance: float, max_steps: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Path-averaged gradients (P, C, h, w) and steps (P,) of a group's P pairs of image and target.

    Every image is on its own after the first steps, so that its result does not depend on what its neighbours need.

    Args:
        group: the images.
        change: (P,) f(x) - f(b), on the CPU.
        n_steps: steps of equal length to begin with.
        tolerance: completeness error at which a pair is left.
        max_steps: most steps of a pair.
    """
    everybody = list(range(len(group.targets)))
    pairs = {
        (image, slot): _Pair([], [], torch.empty(0), torch.empty(0))
        for image, wanted in enumerate(group.targets)
        for slot in range(len(wanted))
    }
    for (image, slot), pair in pairs.items():
        gradient, logit = group.at_baseline(image, group.targets[image][slot])
        slope = (gradient * group.difference[image]).sum()
        pair.add([0.0], [gradient], slope.cpu().view(1), logit.cpu().view(1))
    _take(
        group, pairs, everybody, [list(wanted) for wanted in group.targets], [(i + 1) / n_steps for i in range(n_steps)]
    )
    while True:
        sums = torch.stack([(pair.weights() * pair.slopes).sum() for pair in pairs.values()])
        errors = completeness_error(sums, change)
        above = {
            key: pair
            for key, pair, error in zip(pairs, pairs.values(), errors.tolist(), strict=True)
            if error > tolerance and len(pair.nodes) - 1 < max_steps
        }
        if not above:
            break
        for image in sorted({image for image, _ in above}):
            slots = [slot for number, slot in above if number == image]
            _halve(group, pairs, image, slots, max_steps)
    average = [
        torch.stack(pair.gradients).mul_(pair.weights().to(pair.gradients[0].device).view(-1, 1, 1, 1)).sum(0)
        for pair in pairs.values()
    ]
    return torch.stack(average), torch.tensor([len(pair.nodes) - 1 for pair in pairs.values()])


def _halve(group: Group, pairs: dict[tuple[int, int], _Pair], image: int, slots: list[int], max_steps: int) -> None:
    """Halve the intervals that have the largest part in the errors of an image's pairs.

    The same ones for all of these pairs; as none of them was left before, they have had the same nodes so far.
    """
    pair = pairs[image, slots[0]]
    shares = [pairs[image, slot].residuals() for slot in slots]
    total = torch.stack([share / share.sum().clamp(min=1e-12) for share in shares]).sum(0)
    count = min(HALVED_AT_ONCE, len(total), max_steps - len(total))
    worst = total.argsort(descending=True, stable=True)[:count].tolist()
    nodes = [(pair.nodes[i] + pair.nodes[i + 1]) / 2 for i in sorted(worst)]
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
        slopes = torch.stack([(g * group.difference[image]).sum((1, 2, 3)) for image, _, g, _ in points]).cpu()
        logits = torch.stack([f for *_, f in points]).cpu()
        for (image, slot, gradient, _), own_slopes, own_logits in zip(points, slopes, logits, strict=True):
            own = slot if slots is None else slots[image][slot]
            pairs[image, own].add(nodes[done : done + count], list(gradient), own_slopes, own_logits)
        done += count
