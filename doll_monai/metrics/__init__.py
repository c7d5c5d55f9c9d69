"""Metrics that MONAI does not have."""

from doll_monai.metrics.auroc import MeanAUROC

__all__ = ["MeanAUROC"]
