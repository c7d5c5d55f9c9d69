"""Adding up gradients along the path, for all targets of an image in one forward pass."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .path import Path, Run
from .quadrature import midpoints, quadrature

EPSILON = 1e-3
"""Smallest change of a logit that a completeness error is relative to."""


def completeness_error(total: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
    """``|sum of attributions - (f(x) - f(b))| / max(|f(x) - f(b)|, 1e-3)``, element by element."""
    return (total - change).abs() / change.abs().clamp(min=EPSILON)


class Integration:
    """The integral of the gradients of B images' targets.

    Args:
        path: the network.
        run: how to run it.
        inputs: (B, 1, H, W).
        baseline: (B, 1, H, W).
        grey: the grey value of a uniform baseline, or None.
        internal_batch_size: images times steps in one forward pass.
    """

    def __init__(
        self,
        path: Path,
        run: Run,
        inputs: torch.Tensor,
        baseline: torch.Tensor,
        grey: float | None,
        internal_batch_size: int,
    ) -> None:
        self.path, self.run = path, run
        self.grey = grey
        self.size = (int(inputs.shape[2]), int(inputs.shape[3]))
        self.batch_size = internal_batch_size
        self.inputs, self.baseline = inputs, baseline

    def integrate(
        self, target: torch.Tensor, change: torch.Tensor, n_steps: int, method: str, tolerance: float, max_steps: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Path-averaged gradients (B, T, H, W) and steps (B, T), zero where not wanted; see ``path_gradient``.

        Args:
            target: (B, T) bool.
            change: (B, T), f(x) - f(b).
            n_steps, method, tolerance, max_steps: see ``path_gradient``.
        """
        targets = [row.nonzero().flatten().tolist() for row in target.cpu()]
        gradient = self.inputs.new_zeros((*target.shape, *self.size))
        steps = torch.zeros(target.shape, dtype=torch.int64)
        # images with as many targets share a batch, which needs as many backward passes as its busiest image
        order = sorted((i for i, wanted in enumerate(targets) if wanted), key=lambda i: -len(targets[i]))
        images_at_once = max(self.batch_size // n_steps, 1)
        for first in range(0, len(order), images_at_once):
            images = order[first : first + images_at_once]
            rows = torch.tensor([i for i in images for _ in targets[i]])
            columns = torch.tensor([channel for i in images for channel in targets[i]])
            group = _Group(self, images, [targets[i] for i in images])
            average = group.average(n_steps, method)
            taken = torch.full((len(rows),), n_steps)
            if method == "nested":
                wanted_change = change[rows.to(change.device), columns.to(change.device)]
                group.refine(average, taken, wanted_change, n_steps, tolerance, max_steps)
            steps[rows, columns] = taken
            pulled = self.path.back(torch.cat(average), *self.size)
            gradient[rows.to(gradient.device), columns.to(gradient.device)] = pulled.to(gradient.dtype)
        return gradient, steps


class _Group:
    """Some images that share batches, each with its wanted targets; ``average`` has one (S, C, h, w) an image."""

    def __init__(self, whole: Integration, images: Sequence[int], targets: Sequence[list[int]]) -> None:
        self.path, self.run, self.grey = whole.path, whole.run, whole.grey
        self.size, self.batch_size = whole.size, whole.batch_size
        self.targets = targets
        index = torch.tensor(list(images), device=whole.inputs.device)
        baseline = whole.baseline[:1] if self.grey is not None else whole.baseline[index]
        start = self.path.enter(baseline)
        self.difference = self.path.enter(whole.inputs[index]) - start
        self.start = start.expand_as(self.difference)

    def average(self, n_steps: int, method: str) -> list[torch.Tensor]:
        """Gradients averaged by a rule. A uniform baseline is a node that all images share."""
        nodes, weights = quadrature(n_steps, method)
        everybody = list(range(len(self.targets)))
        if method != "nested" or self.grey is None:
            return self._weighted(everybody, self.targets, nodes, weights)
        average = self._weighted(everybody, self.targets, nodes[1:], weights[1:])
        at_baseline = self._at_baseline(sorted({channel for wanted in self.targets for channel in wanted}))
        for own, wanted in zip(average, self.targets, strict=True):
            own += weights[0] * torch.stack([at_baseline[channel] for channel in wanted])
        return average

    def refine(
        self,
        average: list[torch.Tensor],
        taken: torch.Tensor,
        change: torch.Tensor,
        n_steps: int,
        tolerance: float,
        max_steps: int,
    ) -> None:
        """Halve the steps of the (image, target) pairs whose completeness error is above the tolerance.

        Each image on its own, so that its result does not depend on what its neighbours need.

        Args:
            average: what the nested rule gave so far; changed in place.
            taken: (P,) steps of the P pairs, image by image; changed in place.
            change: (P,) f(x) - f(b).
        """
        starts = [0]
        for wanted in self.targets:
            starts.append(starts[-1] + len(wanted))
        while 2 * n_steps <= max_steps:
            sums = [(own * difference).sum((1, 2, 3)) for own, difference in zip(average, self.difference, strict=True)]
            above = completeness_error(torch.cat(sums), change).cpu() > tolerance
            # a pair that was content before stays so
            above &= taken == n_steps
            if not bool(above.any()):
                return
            for image, wanted in enumerate(self.targets):
                slots = [slot for slot in range(len(wanted)) if above[starts[image] + slot]]
                if slots:
                    between = self._weighted([image], [[wanted[slot] for slot in slots]], *midpoints(n_steps))[0]
                    average[image][slots] = (average[image][slots] + between) / 2
            n_steps *= 2
            taken[above] = n_steps

    def _weighted(
        self, images: Sequence[int], targets: Sequence[list[int]], nodes: Sequence[float], weights: Sequence[float]
    ) -> list[torch.Tensor]:
        """Weighted sums of the gradients at the nodes.

        Samples of a batch are independent, so a single backward pass serves the k-th target of every image, whichever
        observation that is.
        """
        like = self.difference
        sums = [like.new_zeros((len(wanted), *like.shape[1:])) for wanted in targets]
        nodes_at_once = max(self.batch_size // len(images), 1)
        most = max(len(wanted) for wanted in targets)
        slots = like.new_tensor([wanted + [-1] * (most - len(wanted)) for wanted in targets], dtype=torch.int64)
        for first in range(0, len(nodes), nodes_at_once):
            part = slice(first, first + nodes_at_once)
            alpha = like.new_tensor(nodes[part])
            features = self._features(images, alpha)
            logits = self.run(features, self.path.fast or self.path.rest)
            weight = like.new_tensor(weights[part]).repeat(len(images))
            for slot in range(most):
                chosen = slots[:, slot].repeat_interleave(len(alpha))
                picked = logits.gather(1, chosen.clamp(min=0).unsqueeze(1)).squeeze(1)
                value = (picked * weight * (chosen >= 0)).sum()
                (step,) = torch.autograd.grad(value, features, retain_graph=slot < most - 1)
                step = step.unflatten(0, (len(images), len(alpha))).sum(1).to(like.dtype)
                for own, wanted, gradient in zip(sums, targets, step, strict=True):
                    if slot < len(wanted):
                        own[slot] += gradient
        return sums

    def _features(self, images: Sequence[int], alpha: torch.Tensor) -> torch.Tensor:
        """All images at all nodes, (images x nodes, C, h, w), a leaf of the graph."""
        parts = [self.start[i] + alpha.view(-1, 1, 1, 1) * self.difference[i] for i in images]
        features = torch.cat(parts) if len(parts) > 1 else parts[0]
        return features.contiguous(memory_format=torch.channels_last).requires_grad_()

    def _at_baseline(self, channels: Sequence[int]) -> dict[int, torch.Tensor]:
        """Gradient of each target at the uniform baseline; remembered, since it is the same for every image."""
        known = self.path.at_baseline
        keys = {channel: (self.grey, self.size, channel) for channel in channels}
        missing = [channel for channel in channels if keys[channel] not in known]
        if missing:
            features = self.start[:1].contiguous(memory_format=torch.channels_last).requires_grad_()
            logits = self.run(features, self.path.rest)
            for channel in missing:
                (gradient,) = torch.autograd.grad(logits[0, channel], features, retain_graph=channel != missing[-1])
                known[keys[channel]] = gradient[0].to(self.difference.dtype)
        return {channel: known[keys[channel]] for channel in channels}
