"""Where along the path gradients are taken, and how they are weighted."""

from __future__ import annotations

import numpy as np

METHODS = ("nested", "gausslegendre", "riemann_middle")
"""Quadrature rules; ``nested`` is the one of the module ``nested``, which has no fixed nodes."""


def quadrature(n_steps: int, method: str = "gausslegendre") -> tuple[list[float], list[float]]:
    """Nodes in [0, 1] and weights, which sum to 1, of a quadrature rule.

    Args:
        n_steps: number of steps, at least 1.
        method: ``gausslegendre`` or ``riemann_middle``, with as many nodes.

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
    raise ValueError(f"method must be one of {', '.join(METHODS[1:])}, not '{method}'.")
