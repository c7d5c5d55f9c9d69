"""Sums over stacks of gradients that read each of them once, in the order in which it lies in memory."""

from __future__ import annotations

import torch


def weighted_sum(weights: torch.Tensor, stack: torch.Tensor) -> torch.Tensor:
    """Sum of w_m g_m, (C, h, w).

    Args:
        weights: (M,).
        stack: (M, C, h, w), of the weights' type.
    """
    _, channels, height, width = stack.shape
    return (weights @ _flat(stack)).view(height, width, channels).permute(2, 0, 1)


def scalar_products(stack: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Of each g_m with another tensor, (M,).

    Args:
        stack: (M, C, h, w).
        other: (C, h, w), of the same type.
    """
    return _flat(stack) @ _flat(other.unsqueeze(0))[0]


def _flat(stack: torch.Tensor) -> torch.Tensor:
    """(M, h w C), without a copy where channels come last in memory."""
    return stack.permute(0, 2, 3, 1).reshape(len(stack), -1)
