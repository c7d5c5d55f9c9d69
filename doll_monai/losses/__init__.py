"""Losses for labels that are partly unknown or wrong."""

from doll_monai.losses.partial import ObservationLoss, PartialLabelLoss
from doll_monai.losses.robust import GeneralizedCrossEntropyLoss, NoiseRobustDiceLoss

__all__ = ["GeneralizedCrossEntropyLoss", "NoiseRobustDiceLoss", "ObservationLoss", "PartialLabelLoss"]
