"""Losses for labels that are partly unknown or wrong."""

from doll_monai.losses.partial import ObservationLoss, PartialLabelLoss
from doll_monai.losses.robust import GeneralisedCrossEntropyLoss, NoiseRobustDiceLoss

__all__ = ["GeneralisedCrossEntropyLoss", "NoiseRobustDiceLoss", "ObservationLoss", "PartialLabelLoss"]
