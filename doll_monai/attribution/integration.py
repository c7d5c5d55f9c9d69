"""Adding up gradients along the path, for all targets of an image in one forward pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from doll_monai.attribution.nested import nested
from doll_monai.attribution.path import Path, Run
from doll_monai.attribution.quadrature import quadrature
from doll_monai.attribution.sums import weighted_sum


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
            group = Group(self, images, [targets[i] for i in images])
            if method == "nested":
                wanted_change = change[rows.to(change.device), columns.to(change.device)].cpu()
                average, taken = nested(group, wanted_change, n_steps, tolerance, max_steps)
            else:
                average, taken = group.average(*quadrature(n_steps, method)), torch.full((len(rows),), n_steps)
            steps[rows, columns] = taken
            pulled = self.path.back(average, *self.size)
            gradient[rows.to(gradient.device), columns.to(gradient.device)] = pulled.to(gradient.dtype)
        return gradient, steps


class Group:
    """Some images that share batches, each with its wanted targets.

    Args:
        whole: the integration.
        images: their numbers.
        targets: the wanted targets of each.
    """

    def __init__(self, whole: Integration, images: Sequence[int], targets: Sequence[list[int]]) -> None:
        self.path, self.run, self.grey = whole.path, whole.run, whole.grey
        self.size, self.batch_size = whole.size, whole.batch_size
        self.targets = targets
        index = torch.tensor(list(images), device=whole.inputs.device)
        baseline = whole.baseline[:1] if self.grey is not None else whole.baseline[index]
        start = self.path.enter(baseline)
        self.difference = self.path.enter(whole.inputs[index]) - start
        self.start = start.expand_as(self.difference)

    def average(self, nodes: Sequence[float], weights: Sequence[float]) -> torch.Tensor:
        """Gradients averaged by a rule, (P, C, h, w) for the P pairs of image and target, image by image."""
        pairs = [(image, slot) for image, wanted in enumerate(self.targets) for slot in range(len(wanted))]
        sums = {pair: torch.zeros_like(self.difference[0]) for pair in pairs}
        done = 0
        for points in self.at(list(range(len(self.targets))), self.targets, nodes):
            count = len(points[0][2])
            weight = self.difference.new_tensor(weights[done : done + count])
            for image, slot, gradient, _ in points:
                sums[image, slot] += weighted_sum(weight, gradient)
            done += count
        return torch.stack([sums[pair] for pair in pairs])

    def at(
        self, images: Sequence[int], targets: Sequence[list[int]], nodes: Sequence[float]
    ) -> Iterator[list[tuple[int, int, torch.Tensor, torch.Tensor]]]:
        """Gradients (M, C, h, w) and logits (M,) at the nodes, M of them at a time: a list of (image, slot, ...).

        Samples of a batch are independent, so a single backward pass serves the k-th target of every image, whichever
        observation that is.
        """
        nodes_at_once = max(self.batch_size // len(images), 1)
        most = max(len(wanted) for wanted in targets)
        padded = [wanted + wanted[:1] * (most - len(wanted)) for wanted in targets]
        slots = torch.tensor(padded, device=self.difference.device)
        for first in range(0, len(nodes), nodes_at_once):
            alpha = self.difference.new_tensor(nodes[first : first + nodes_at_once])
            features = self._features(images, alpha)
            logits = self.run(features, self.path.rest if self.path.fast is None else self.path.fast)
            points = []
            for slot in range(most):
                chosen = slots[:, slot].repeat_interleave(len(alpha)).unsqueeze(1)
                picked = logits.gather(1, chosen).squeeze(1)
                (gradient,) = torch.autograd.grad(picked.sum(), features, retain_graph=slot < most - 1)
                shape = (len(images), len(alpha))
                parts = zip(images, targets, gradient.unflatten(0, shape), picked.detach().view(shape), strict=True)
                points += [(image, slot, g.float(), f.float()) for image, wanted, g, f in parts if slot < len(wanted)]
            yield points

    def _features(self, images: Sequence[int], alpha: torch.Tensor) -> torch.Tensor:
        """All images at all nodes, (images x nodes, C, h, w), a leaf of the graph."""
        parts = [torch.addcmul(self.start[i], alpha.view(-1, 1, 1, 1), self.difference[i]) for i in images]
        features = torch.cat(parts) if len(parts) > 1 else parts[0]
        return features.contiguous(memory_format=torch.channels_last).requires_grad_()

    def at_baseline(self, image: int, channel: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Gradient (C, h, w) and logit of a target at an image's baseline.

        That of a uniform baseline is remembered, since it is the same for every image.
        """
        known, key = self.path.at_baseline, (self.grey, self.size, channel)
        if self.grey is None or key not in known:
            features = self.start[image : image + 1].contiguous(memory_format=torch.channels_last).requires_grad_()
            logit = self.run(features, self.path.rest)[0, channel]
            (gradient,) = torch.autograd.grad(logit, features)
            known[key] = (gradient[0].float(), logit.detach().float())
        return known[key]
