"""Inferers that MONAI does not have."""

from doll_monai.inferers.autocast import AutocastInferer

__all__ = ["AutocastInferer"]
