"""Inferers that MONAI does not have."""

from .autocast import AutocastInferer, preferred_dtype

__all__ = ["AutocastInferer", "preferred_dtype"]
