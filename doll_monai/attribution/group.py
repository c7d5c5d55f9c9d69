"""Images that share batches: gradients averaged along their paths, for all targets in one forward pass."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from doll_monai.attribution.path import Path, Run


class Group:
    """Images (B, 1, H, W) that share batches, each with at least one target of its own.

    ``batch_size`` is images times nodes in one forward pass.
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

    def average(self, nodes: Sequence[float], weights: Sequence[float]) -> torch.Tensor:
        """Gradients behind the stem averaged by a quadrature rule with nodes from 0 (baseline) to 1 (image).

        The images of a batch are independent, so one backward pass serves the k-th target of each of them, whichever
        it is; an image with fewer targets repeats its first.

        Returns:
            (P, C, h, w) for the P pairs of image and target, image by image.
        """
        most = max(map(len, self.targets))
        padded = [own + own[:1] * (most - len(own)) for own in self.targets]
        slots = torch.tensor(padded, device=self.difference.device)
        sums = self.difference.new_zeros((len(padded), most, *self.difference.shape[1:]))
        parts = -(-len(nodes) // max(self.batch_size // len(padded), 1))
        rule = self.difference.new_tensor([nodes, weights])
        for alpha, weight in rule.tensor_split(parts, dim=1):
            steps = alpha.view(1, -1, 1, 1, 1)
            features = torch.addcmul(self.baselines[:, None], steps, self.difference[:, None]).flatten(0, 1)
            features = features.contiguous(memory_format=torch.channels_last).requires_grad_()
            logits = self.run(features, self.path.rest)
            for slot in range(most):
                picked = logits.gather(1, slots[:, slot].repeat_interleave(len(alpha)).unsqueeze(1))
                (gradient,) = torch.autograd.grad(picked.sum(), features, retain_graph=slot < most - 1)
                gradients = gradient.unflatten(0, (len(padded), len(alpha))).to(sums.dtype)
                sums[:, slot] += torch.einsum("m,bmchw->bchw", weight, gradients)
        return torch.cat([own[: len(targets)] for own, targets in zip(sums, self.targets, strict=True)])
