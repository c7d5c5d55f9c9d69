"""Losses to which an ignored observation or pixel contributes exactly nothing."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from monai.losses import DiceLoss
from torch import nn

from doll_monai.findings import IGNORE


class ObservationLoss(nn.Module):
    """Mean binary cross-entropy over the observations whose target is known; 0 when there is none.

    ``pos_weight`` is the weight of a positive target, one number or one for each observation.
    """

    def __init__(self, pos_weight: float | Sequence[float] = 1.0) -> None:
        super().__init__()
        self.pos_weight = pos_weight

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Args: logits: (B, T). target: (B, T) in [0, 1], negative where ignored. Returns: a scalar."""
        known = (target >= 0).to(logits.dtype)
        pos_weight = torch.as_tensor(self.pos_weight, dtype=torch.float32, device=logits.device)
        total = F.binary_cross_entropy_with_logits(
            logits, target.clamp(min=0).to(logits.dtype), weight=known, reduction="sum", pos_weight=pos_weight
        )
        return total / known.sum().clamp(min=1)


class PartialLabelLoss(nn.Module):
    """Weighted pixel cross-entropy plus Dice on the foreground, for overlapping channels with ignored pixels.

    With ``g`` the label (1 foreground, 0 background), ``p`` the predicted probability, sums over the pixels that are
    not ignored, and ``w`` = 1 on foreground and ``background_weight`` on background::

        cross-entropy = sum w * BCE(p, g) / sum w
        Dice(channel) = 1 - (2 sum p g + 1) / (sum p + sum g + 1)
        loss = cross-entropy + dice_weight * mean Dice of the channels that have foreground in the batch

    The combination is ours; a low background weight (0.1) is what PSSL (arXiv 2207.03335) used.
    """

    def __init__(self, background_weight: float = 1.0, dice_weight: float = 1.0) -> None:
        super().__init__()
        self.background_weight = background_weight
        self.dice_weight = dice_weight
        self.dice = DiceLoss(batch=True, reduction="none", smooth_nr=1.0, smooth_dr=1.0)

    def forward(self, logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Args: logits: (B, T, H, W). label: (B, T, H, W) with 0, 1 and 255, ignored. Returns: a scalar."""
        logits, foreground, known = known_pixels(logits, label)
        weight = foreground + self.background_weight * (known - foreground)
        loss = F.binary_cross_entropy_with_logits(logits, foreground, weight=weight, reduction="sum")
        loss = loss / weight.sum().clamp(min=1e-6)
        present = (foreground.sum((0, 2, 3)) > 0).to(logits.dtype)
        dice = self.dice(torch.sigmoid(logits) * known, foreground).flatten()
        return loss + self.dice_weight * (dice * present).sum() / present.sum().clamp(min=1)


def known_pixels(logits: torch.Tensor, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What a loss sees of logits and label (B, T, H, W): logits, foreground and known pixels as 0 and 1 of their type.

    Logits are zero where ignored, whatever the network said there, infinity included; so is the gradient.
    """
    logits, label = logits.as_subclass(torch.Tensor), label.as_subclass(torch.Tensor)
    known = label != IGNORE
    foreground = (label > 0) & known
    return torch.where(known, logits, torch.zeros_like(logits)), foreground.to(logits.dtype), known.to(logits.dtype)
