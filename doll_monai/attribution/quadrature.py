"""Where along the path gradients are taken, how they are weighted, and how far their sum is off."""

from __future__ import annotations

import numpy as np
import torch

METHODS = ("nested", "gausslegendre", "riemann_middle")
"""Quadrature rules; ``nested`` is the one of the module ``nested``, which has no fixed nodes."""
EPSILON = 1e-3
"""Smallest change of a logit that a completeness error is relative to."""


def quadrature(n_steps: int, method: str = "gausslegendre") -> tuple[list[float], list[float]]:
    """Nodes in [0, 1] and weights, which sum to 1, of ``gausslegendre`` or ``riemann_middle`` with n_steps >= 1."""
    if method == "gausslegendre":
        nodes, weights = np.polynomial.legendre.leggauss(n_steps)
        return list((nodes + 1) / 2), list(weights / 2)
    return [(step + 0.5) / n_steps for step in range(n_steps)], [1 / n_steps] * n_steps


def completeness_error(total: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
    """``|sum of attributions - (f(x) - f(b))| / max(|f(x) - f(b)|, 1e-3)`` (Sundararajan et al. 2017, prop. 1)."""
    return (total - change).abs() / change.abs().clamp(min=EPSILON)
