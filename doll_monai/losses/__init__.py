"""Losses for labels that are partly unknown."""

from .partial import ObservationLoss, PartialLabelLoss

__all__ = ["ObservationLoss", "PartialLabelLoss"]
