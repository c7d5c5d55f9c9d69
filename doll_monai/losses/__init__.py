"""Losses for labels that are partly unknown or wrong."""

from .partial import ObservationLoss, PartialLabelLoss
from .robust import GeneralisedCrossEntropyLoss, NoiseRobustDiceLoss

__all__ = ["GeneralisedCrossEntropyLoss", "NoiseRobustDiceLoss", "ObservationLoss", "PartialLabelLoss"]
