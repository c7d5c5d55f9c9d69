"""Batched multi-target Integrated Gradients (Sundararajan et al. 2017).

The path from a baseline ``b`` to an image ``x`` does not depend on the target, so one forward pass serves all
positive targets of an image; many steps, and many images, share a batch. Parameter names are captum's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from captum.attr import IntegratedGradients

from doll_monai.attribution.path import Network, Path, Run, path_through, untouched
from doll_monai.utils.errors import InputError

ENGINES = ("doll", "captum")
"""The implementation here, and captum's, which is the reference."""
EPSILON = 1e-3
"""Smallest change of a logit that a completeness error is relative to."""


@dataclass
class PathGradient:
    """What the integration gives for a batch of B images and T targets; zero where a target was not asked for.

    Attributes:
        gradient: (B, T, H, W) float32, signed, averaged along the path; times ``x - b`` it is the attribution (eq. 1).
        completeness_error: (B, T), see the function; NaN where a target was not asked for.
        n_steps: (B, T) int64, steps of the quadrature.
    """

    gradient: torch.Tensor
    completeness_error: torch.Tensor
    n_steps: torch.Tensor


def path_gradient(
    network: Network | Path,
    inputs: torch.Tensor,
    target: torch.Tensor,
    baselines: torch.Tensor | float = 0.0,
    n_steps: int = 50,
    internal_batch_size: int = 64,
    engine: str = "doll",
    run: Run = lambda x, network: network(x),
) -> PathGradient:
    """Average of the gradient of each wanted target along the straight path from baseline to image (Gauss-Legendre).

    Args:
        network: in evaluation mode, (N, 1, H, W) -> (N, T) logits; its images must not influence each other. Give its
            ``path_through`` for many calls with the same weights.
        inputs: (B, 1, H, W), one channel.
        target: (B, T) bool, the targets wanted of each image.
        baselines: a number or (B, 1, H, W).
        n_steps: steps of the quadrature.
        internal_batch_size: images times steps in one forward pass; bounds the memory.
        engine: ``doll``, or ``captum`` (one call a target).
        run: how to run a network, such as a MONAI inferer that treats every image as a whole.

    Raises:
        ValueError: for an unknown engine, no steps, or shapes that do not fit.
    """
    if engine not in ENGINES:
        raise InputError(f"engine must be one of {', '.join(ENGINES)}, not '{engine}'.")
    if n_steps < 1:
        raise InputError(f"n_steps must be at least 1, not {n_steps}.")
    if inputs.ndim != 4 or inputs.shape[1] != 1 or target.shape[0] != inputs.shape[0]:
        raise ValueError(f"inputs must be (B, 1, H, W) and target (B, T), not {inputs.shape} and {target.shape}.")
    inputs = inputs.detach().float()
    wanted = target.to(device=inputs.device, dtype=torch.bool)
    baseline = torch.as_tensor(baselines, dtype=inputs.dtype, device=inputs.device).expand_as(inputs)
    whole = network.network if isinstance(network, Path) else untouched(network)
    origin = baseline if isinstance(baselines, torch.Tensor) else baseline[:1]
    change = _logits(whole, inputs, internal_batch_size) - _logits(whole, origin, internal_batch_size)
    gradient = inputs.new_zeros((*wanted.shape, *inputs.shape[2:]))
    steps = torch.full_like(wanted, n_steps, dtype=torch.int64)
    if engine == "captum":
        explainer = IntegratedGradients(lambda x: run(x, whole), multiply_by_inputs=False)
        for channel in wanted.any(dim=0).nonzero().flatten().tolist():
            for index in wanted[:, channel].nonzero().flatten().split(internal_batch_size):
                options = {"n_steps": n_steps, "internal_batch_size": internal_batch_size}
                part = explainer.attribute(inputs[index], baseline[index], channel, **options)
                gradient[index, channel] = part[:, 0].detach().to(gradient.dtype)
    else:
        path = network if isinstance(network, Path) else path_through(network, inputs)
        nodes, weights = np.polynomial.legendre.leggauss(n_steps)
        rule = inputs.new_tensor(np.stack([(nodes + 1) / 2, weights / 2]))
        # those with as many targets come together: a group needs as many backward passes as its busiest image
        order = wanted.sum(dim=1).argsort(descending=True, stable=True)[: int(wanted.any(dim=1).sum())]
        for images in order.split(max(internal_batch_size // n_steps, 1)) if len(order) else ():
            rows, columns = wanted[images].nonzero(as_tuple=True)
            targets = [row.nonzero().flatten().tolist() for row in wanted[images]]
            start = path.enter(baseline[images])
            difference = path.enter(inputs[images]) - start
            with torch.enable_grad():
                average = _average(path, run, start, difference, targets, rule, internal_batch_size)
            gradient[images[rows], columns] = path.back(average, *inputs.shape[2:])
    total = (gradient * (inputs - baseline)).sum(dim=(2, 3))
    error = completeness_error(total, change).masked_fill(~wanted, float("nan"))
    return PathGradient(gradient, error, steps.masked_fill(~wanted, 0))


def _average(
    path: Path,
    run: Run,
    baselines: torch.Tensor,
    difference: torch.Tensor,
    targets: Sequence[list[int]],
    rule: torch.Tensor,
    batch_size: int,
) -> torch.Tensor:
    """Gradients behind the stem averaged along the paths of images that share batches, for all targets in one pass.

    The images of a batch are independent, so one backward pass serves the k-th target of each of them, whichever it
    is; an image with fewer targets repeats its first.

    Args:
        baselines, difference: the former, and the images minus it, both behind the stem, (B, C, h, w).
        targets: of each image, at least one.
        rule: nodes from 0 (baseline) to 1 (image), and their weights, (2, N).
        batch_size: images times nodes in one forward pass.

    Returns:
        (P, C, h, w) for the P pairs of image and target, image by image.
    """
    most = max(map(len, targets))
    slots = torch.tensor([own + own[:1] * (most - len(own)) for own in targets], device=difference.device)
    sums = difference.new_zeros((len(targets), most, *difference.shape[1:]))
    parts = -(-rule.shape[1] // max(batch_size // len(targets), 1))
    for alpha, weight in rule.tensor_split(parts, dim=1):
        features = torch.addcmul(baselines[:, None], alpha.view(1, -1, 1, 1, 1), difference[:, None]).flatten(0, 1)
        features = features.contiguous(memory_format=torch.channels_last).requires_grad_()
        logits = run(features, path.rest)
        for slot in range(most):
            picked = logits.gather(1, slots[:, slot].repeat_interleave(len(alpha)).unsqueeze(1))
            (gradient,) = torch.autograd.grad(picked.sum(), features, retain_graph=slot < most - 1)
            gradients = gradient.unflatten(0, (len(targets), len(alpha))).to(sums.dtype)
            sums[:, slot] += torch.einsum("m,bmchw->bchw", weight, gradients)
    return torch.cat([own[: len(some)] for own, some in zip(sums, targets, strict=True)])


def completeness_error(total: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
    """``|sum of attributions - (f(x) - f(b))| / max(|f(x) - f(b)|, 1e-3)`` (Sundararajan et al. 2017, prop. 1)."""
    return (total - change).abs() / change.abs().clamp(min=EPSILON)


def _logits(network: Network, images: torch.Tensor, batch_size: int) -> torch.Tensor:
    """f(x) of all targets, (B, T), in full precision: rounding to ``bfloat16`` would drown differences."""
    with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
        return torch.cat([network(part).float() for part in images.split(batch_size)])
