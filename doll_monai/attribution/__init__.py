"""Integrated Gradients of many targets at once; plain torch, knows nothing of MONAI."""

from .integrated_gradients import ENGINES, PathGradient, path_gradient
from .path import Path, path_through
from .quadrature import METHODS, quadrature

__all__ = ["ENGINES", "METHODS", "Path", "PathGradient", "path_gradient", "path_through", "quadrature"]
