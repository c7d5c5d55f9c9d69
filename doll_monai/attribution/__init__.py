"""Integrated Gradients of many targets at once; plain torch, knows nothing of MONAI."""

from doll_monai.attribution.compiling import can_compile, compile_pays
from doll_monai.attribution.integrated_gradients import ENGINES, PathGradient, path_gradient
from doll_monai.attribution.path import Path, path_through
from doll_monai.attribution.quadrature import METHODS, quadrature

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
