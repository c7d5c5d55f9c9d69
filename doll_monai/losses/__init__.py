"""Losses for labels that are partly unknown or wrong."""

from doll_monai.losses.partial import (
    GeneralizedCrossEntropyLoss,
    NoiseRobustDiceLoss,
    ObservationLoss,
    PartialLabelLoss,
)

__all__ = ["GeneralizedCrossEntropyLoss", "NoiseRobustDiceLoss", "ObservationLoss", "PartialLabelLoss"]
