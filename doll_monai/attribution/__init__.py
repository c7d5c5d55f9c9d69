"""Integrated Gradients of many targets at once; plain torch, knows nothing of MONAI."""

from .compiling import can_compile, compile_pays
from .integrated_gradients import ENGINES, PathGradient, path_gradient
from .path import Path, path_through
from .quadrature import METHODS, quadrature

__all__ = [
    "ENGINES",
    "METHODS",
    "Path",
    "PathGradient",
    "can_compile",
    "compile_pays",
    "path_gradient",
    "path_through",
    "quadrature",
]
