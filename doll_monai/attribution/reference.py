"""captum's Integrated Gradients in our shapes: the reference, and an engine that can be chosen."""

from __future__ import annotations

from collections.abc import Callable

import torch
from captum.attr import IntegratedGradients


def captum_gradient(
    forward: Callable[[torch.Tensor], torch.Tensor],
    inputs: torch.Tensor,
    baseline: torch.Tensor,
    target: torch.Tensor,
    n_steps: int,
    method: str,
    internal_batch_size: int,
) -> torch.Tensor:
    """Path-averaged gradient (B, T, H, W), zero where not wanted; one call of captum for each target of the batch.

    Args:
        forward: (N, 1, H, W) -> (N, T) logits.
        inputs, baseline: (B, 1, H, W).
        target: (B, T) bool.
        n_steps, method, internal_batch_size: captum's.
    """
    explainer = IntegratedGradients(forward, multiply_by_inputs=False)
    gradient = inputs.new_zeros((*target.shape, *inputs.shape[2:]))
    for channel in target.any(dim=0).nonzero().flatten().tolist():
        index = target[:, channel].nonzero().flatten().to(inputs.device)
        step = explainer.attribute(
            inputs[index],
            baselines=baseline[index],
            target=channel,
            n_steps=n_steps,
            method=method,
            internal_batch_size=max(internal_batch_size, len(index)),
        )
        gradient[index, channel] = step[:, 0].detach().to(gradient.dtype)
    return gradient
