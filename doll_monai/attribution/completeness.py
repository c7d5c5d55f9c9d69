"""How far attributions are from adding up to what they explain."""

from __future__ import annotations

import torch

EPSILON = 1e-3
"""Smallest change of a logit that a completeness error is relative to."""


def completeness_error(total: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
    """``|sum of attributions - (f(x) - f(b))| / max(|f(x) - f(b)|, 1e-3)``, element by element."""
    return (total - change).abs() / change.abs().clamp(min=EPSILON)
