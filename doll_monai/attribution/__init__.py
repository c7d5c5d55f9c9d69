"""Integrated Gradients of many targets at once; plain torch, knows nothing of MONAI."""

from .integrated_gradients import ENGINES, PathGradient, path_gradient, quadrature

__all__ = ["ENGINES", "PathGradient", "path_gradient", "quadrature"]
