"""Batched multi-target Integrated Gradients (Sundararajan et al. 2017).

The path from a baseline ``b`` to an image ``x`` does not depend on the target, so one forward pass serves all
positive targets of an image; many images and steps share a batch. Parameter names are captum's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from captum.attr import IntegratedGradients

ENGINES = ("doll", "captum")
"""The implementation here, and captum's, which is the reference."""

Forward = Callable[[torch.Tensor], torch.Tensor]


@dataclass
class PathGradient:
    """What the integration gives for a batch of B images and T targets; zero where a target was not asked for.

    Attributes:
        gradient: (B, T, H, W) float32, the gradient averaged along the path; times ``x - b`` it is the attribution.
        completeness_error: (B, T), ``|sum of attributions - (f(x) - f(b))| / max(|f(x) - f(b)|, 1e-3)``; NaN where a
            target was not asked for.
        n_steps: steps of the quadrature.
    """

    gradient: torch.Tensor
    completeness_error: torch.Tensor
    n_steps: int


def quadrature(n_steps: int, method: str = "gausslegendre") -> tuple[list[float], list[float]]:
    """Nodes in (0, 1) and weights, which sum to 1, of a quadrature rule.

    Args:
        n_steps: number of nodes, at least 1.
        method: ``gausslegendre`` or ``riemann_middle``.

    Raises:
        ValueError: for another method or no steps.
    """
    if n_steps < 1:
        raise ValueError(f"n_steps must be at least 1, not {n_steps}.")
    if method == "gausslegendre":
        nodes, weights = np.polynomial.legendre.leggauss(n_steps)
        return list((nodes + 1) / 2), list(weights / 2)
    if method == "riemann_middle":
        return [(step + 0.5) / n_steps for step in range(n_steps)], [1 / n_steps] * n_steps
    raise ValueError(f"method must be 'gausslegendre' or 'riemann_middle', not '{method}'.")


def path_gradient(
    forward: Forward,
    inputs: torch.Tensor,
    target: torch.Tensor,
    baselines: torch.Tensor | float = 0.0,
    n_steps: int = 50,
    method: str = "gausslegendre",
    internal_batch_size: int = 64,
    engine: str = "doll",
) -> PathGradient:
    """Average, along the straight path from baseline to image, of the gradient of each wanted target.

    Args:
        forward: a network in evaluation mode, (N, C, H, W) -> (N, T) logits; its images must not influence each other.
        inputs: (B, 1, H, W), one channel.
        target: (B, T) bool, the targets wanted of each image.
        baselines: a number or (B, 1, H, W).
        n_steps: steps of the quadrature.
        method: see ``quadrature``.
        internal_batch_size: images times steps in one forward pass; bounds the memory.
        engine: ``doll``, or ``captum`` (one call a target).

    Returns:
        The path gradient, its completeness error and the number of steps.

    Raises:
        ValueError: for an unknown engine or method, or shapes that do not fit.
    """
    if engine not in ENGINES:
        raise ValueError(f"engine must be one of {', '.join(ENGINES)}, not '{engine}'.")
    if inputs.ndim != 4 or inputs.shape[1] != 1 or target.shape[0] != inputs.shape[0]:
        raise ValueError(f"inputs must be (B, 1, H, W) and target (B, T), not {inputs.shape} and {target.shape}.")
    inputs = inputs.detach()
    baseline = torch.as_tensor(baselines, dtype=inputs.dtype, device=inputs.device).expand_as(inputs)
    target = target.to(device=inputs.device, dtype=torch.bool)
    slots = _slots(target)
    with torch.enable_grad():
        integrate = _integrate if engine == "doll" else _integrate_with_captum
        gradient = integrate(forward, inputs, baseline, slots, target.shape[1], n_steps, method, internal_batch_size)
    with torch.no_grad():
        ends = torch.cat([inputs, baseline]).split(internal_batch_size)
        change = torch.cat([forward(part).float() for part in ends])
    change = change[: len(inputs)] - change[len(inputs) :]
    total = (gradient * (inputs - baseline)).sum(dim=(2, 3))
    error = (total - change).abs() / change.abs().clamp(min=1e-3)
    return PathGradient(gradient, error.masked_fill(~target, float("nan")), n_steps)


def _slots(target: torch.Tensor) -> torch.Tensor:
    """(B, S): the k-th wanted target of each image, -1 where it has fewer; S is the most that any image has."""
    order = torch.argsort(target.to(torch.int8), dim=1, descending=True, stable=True)
    wanted = torch.gather(target, 1, order)
    order = order.masked_fill(~wanted, -1)
    return order[:, : int(target.sum(dim=1).max())] if len(target) else order[:, :0]


def _integrate(
    forward: Forward,
    inputs: torch.Tensor,
    baseline: torch.Tensor,
    slots: torch.Tensor,
    n_targets: int,
    n_steps: int,
    method: str,
    internal_batch_size: int,
) -> torch.Tensor:
    """One forward pass for all targets of a group of (image, step) pairs, one backward pass for each slot.

    Samples of a batch are independent, so a single backward pass serves the k-th target of every image, whichever
    observation that is.
    """
    nodes, weights = quadrature(n_steps, method)
    gradient = inputs.new_zeros((len(inputs), n_targets, *inputs.shape[2:]))
    counts = (slots >= 0).sum(dim=1)
    # images with as many targets share a batch, which needs as many backward passes as its busiest image
    wanted = torch.argsort(counts, descending=True, stable=True)[: int((counts > 0).sum())]
    if len(wanted) == 0:
        return gradient
    image = wanted.repeat_interleave(n_steps)
    node = inputs.new_tensor(nodes).repeat(len(wanted))
    weight = inputs.new_tensor(weights).repeat(len(wanted))
    for part in torch.arange(len(image), device=inputs.device).split(internal_batch_size):
        index = image[part]
        alpha = node[part].view(-1, 1, 1, 1)
        path = (baseline[index] + alpha * (inputs[index] - baseline[index])).requires_grad_()
        logits = forward(path)
        active = [slot for slot in range(slots.shape[1]) if bool((slots[index, slot] >= 0).any())]
        for slot in active:
            chosen = slots[index, slot]
            valid = chosen >= 0
            picked = logits.gather(1, chosen.clamp(min=0).unsqueeze(1)).squeeze(1)
            (step,) = torch.autograd.grad((picked * weight[part] * valid).sum(), path, retain_graph=slot != active[-1])
            gradient.index_put_((index[valid], chosen[valid]), step[valid, 0].to(gradient.dtype), accumulate=True)
    return gradient


def _integrate_with_captum(
    forward: Forward,
    inputs: torch.Tensor,
    baseline: torch.Tensor,
    slots: torch.Tensor,
    n_targets: int,
    n_steps: int,
    method: str,
    internal_batch_size: int,
) -> torch.Tensor:
    explainer = IntegratedGradients(forward, multiply_by_inputs=False)
    gradient = inputs.new_zeros((len(inputs), n_targets, *inputs.shape[2:]))
    for slot in range(slots.shape[1]):
        index = (slots[:, slot] >= 0).nonzero().flatten()
        chosen = slots[index, slot]
        step = explainer.attribute(
            inputs[index],
            baselines=baseline[index],
            target=chosen,
            n_steps=n_steps,
            method=method,
            internal_batch_size=max(internal_batch_size, len(index)),
        )
        gradient[index, chosen] = step[:, 0].detach().to(gradient.dtype)
    return gradient
