"""Images that share batches: gradients at nodes of their paths, for all targets in one forward pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from doll_monai.attribution.path import Path, Run

Points = tuple[int, int, slice, torch.Tensor, torch.Tensor]
"""Position of an image and of its target, which M of the nodes, gradients (M, C, h, w), logits (M,); float32."""


class Group:
    """Images (B, 1, H, W) that share batches, each with at least one target of its own.

    ``batch_size`` is images times nodes in one forward pass; ``difference`` that of image and baseline behind the stem,
    (B, C, h, w).
    """

    def __init__(
        self,
        path: Path,
        run: Run,
        inputs: torch.Tensor,
        baselines: torch.Tensor,
        targets: Sequence[list[int]],
        batch_size: int,
    ) -> None:
        self.path, self.run, self.targets, self.batch_size = path, run, targets, batch_size
        self.baselines = path.enter(baselines)
        self.difference = path.enter(inputs) - self.baselines

    def points(self, images: Sequence[int], targets: Sequence[list[int]], nodes: Sequence[float]) -> Iterator[Points]:
        """Gradients behind the stem, and logits, of some images' targets at nodes from 0 (baseline) to 1 (image).

        The images of a batch are independent, so one backward pass serves the k-th target of each of them, whichever
        it is; an image with fewer targets repeats its first.
        """
        most = max(map(len, targets))
        padded = [own + own[:1] * (most - len(own)) for own in targets]
        slots = torch.tensor(padded, device=self.difference.device)
        nodes_at_once = max(self.batch_size // len(images), 1)
        first = 0
        for alpha in self.difference.new_tensor(nodes).tensor_split(-(-len(nodes) // nodes_at_once)):
            part = slice(first, first + len(alpha))
            first = part.stop
            steps = alpha.view(-1, 1, 1, 1)
            features = torch.cat([torch.addcmul(self.baselines[i], steps, self.difference[i]) for i in images])
            features = features.contiguous(memory_format=torch.channels_last).requires_grad_()
            logits = self.run(features, self.path.rest)
            for slot in range(most):
                picked = logits.gather(1, slots[:, slot].repeat_interleave(len(alpha)).unsqueeze(1))
                (gradient,) = torch.autograd.grad(picked.sum(), features, retain_graph=slot < most - 1)
                shape = (len(images), len(alpha))
                parts = zip(gradient.unflatten(0, shape), picked.detach().float().view(shape), strict=True)
                for image, (own_gradients, own_logits) in enumerate(parts):
                    if slot < len(targets[image]):
                        yield image, slot, part, own_gradients, own_logits

    def average(self, nodes: Sequence[float], weights: Sequence[float]) -> torch.Tensor:
        """Gradients averaged by a quadrature rule, (P, C, h, w) for the P pairs of image and target, image by image."""
        sums = [[torch.zeros_like(self.difference[0]) for _ in own] for own in self.targets]
        weight = self.difference.new_tensor(weights)
        for image, slot, part, gradients, _ in self.points(range(len(self.targets)), self.targets, nodes):
            sums[image][slot] += torch.einsum("m,mchw->chw", weight[part], gradients)
        return torch.stack([total for own in sums for total in own])
