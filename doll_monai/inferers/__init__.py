"""Inferers that MONAI does not have."""

from doll_monai.inferers.autocast import AutocastInferer, preferred_dtype

__all__ = ["AutocastInferer", "preferred_dtype"]
