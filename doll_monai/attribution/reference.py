"""captum's Integrated Gradients in our shapes: the reference, and an engine that can be chosen."""

from __future__ import annotations

from typing import Any

import torch
from captum.attr import IntegratedGradients

from doll_monai.attribution.path import Network


def captum_gradient(
    network: Network, inputs: torch.Tensor, baseline: torch.Tensor, target: torch.Tensor, size: int, **options: Any
) -> torch.Tensor:
    """Path-averaged gradient (B, T, H, W), zero where not wanted; one call of captum for each target of the batch.

    Args:
        network: (N, 1, H, W) -> (N, T) logits.
        inputs, baseline: (B, 1, H, W).
        target: (B, T) bool.
        size: captum's ``internal_batch_size``, at least the images of a call.
        options: captum's ``n_steps`` and ``method``.
    """
    explainer = IntegratedGradients(network, multiply_by_inputs=False)
    gradient = inputs.new_zeros((*target.shape, *inputs.shape[2:]))
    for channel in target.any(dim=0).nonzero().flatten().tolist():
        for index in target[:, channel].nonzero().flatten().split(size):
            part = explainer.attribute(inputs[index], baseline[index], channel, internal_batch_size=size, **options)
            gradient[index, channel] = part[:, 0].detach().to(gradient.dtype)
    return gradient
