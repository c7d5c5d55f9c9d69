"""Metrics that MONAI does not have."""

from .auroc import MeanAUROC

__all__ = ["MeanAUROC"]
