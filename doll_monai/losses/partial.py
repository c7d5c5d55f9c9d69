"""Losses to which an ignored observation or pixel contributes exactly nothing."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from doll_monai.findings import IGNORE


class ObservationLoss(nn.Module):
    """Binary cross-entropy over the observations whose target is known (not negative).

    Args:
        pos_weight: weight of a positive target, one number or one for each observation.
    """

    def __init__(self, pos_weight: float | Sequence[float] = 1.0) -> None:
        super().__init__()
        self.register_buffer("pos_weight", torch.as_tensor(pos_weight, dtype=torch.float32), persistent=False)

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Mean over the known targets; zero, with a gradient of zero, when there is none.

        Args:
            logits: (B, T).
            target: (B, T) in [0, 1], negative where ignored.
        """
        known = target >= 0
        assert isinstance(self.pos_weight, torch.Tensor)
        weight = self.pos_weight.to(logits.device)
        loss = F.binary_cross_entropy_with_logits(
            logits, target.clamp(min=0).to(logits.dtype), reduction="none", pos_weight=weight
        )
        return torch.where(known, loss, torch.zeros_like(loss)).sum() / known.sum().clamp(min=1)


class PartialLabelLoss(nn.Module):
    """Weighted pixel cross-entropy plus Dice on the foreground, for overlapping channels with ignored pixels.

    With ``g`` the label (1 foreground, 0 background), ``p`` the predicted probability, sums over the pixels that are
    not ignored, and ``w`` = 1 on foreground and ``background_weight`` on background::

        cross-entropy = sum w * BCE(p, g) / sum w
        Dice(channel) = 1 - (2 sum p g + s) / (sum p + sum g + s)

    Dice is summed over the batch and averaged over the channels that have foreground in it. The low background
    weight is that of PSSL (arXiv 2207.03335, 0.1); the combination is ours.

    Args:
        background_weight: weight of a background pixel.
        dice_weight: weight of the Dice term; 0 leaves it out.
        ignore_index: pixel value that is ignored.
        smooth: s, keeps the quotient finite.
    """

    def __init__(
        self,
        background_weight: float = 1.0,
        dice_weight: float = 1.0,
        ignore_index: int = IGNORE,
        smooth: float = 1.0,
    ) -> None:
        super().__init__()
        self.background_weight = background_weight
        self.dice_weight = dice_weight
        self.ignore_index = ignore_index
        self.smooth = smooth

    def forward(self, logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Args: logits: (B, T, H, W). label: (B, T, H, W) with 0, 1 and ``ignore_index``. Returns: a scalar."""
        known = label != self.ignore_index
        truth = ((label > 0) & known).to(logits.dtype)
        weight = known.to(logits.dtype) * (truth + (1 - truth) * self.background_weight)
        pixel = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
        pixel = torch.where(known, pixel, torch.zeros_like(pixel))
        loss = (weight * pixel).sum() / weight.sum().clamp(min=1e-6)
        if self.dice_weight == 0:
            return loss
        probability = torch.where(known, torch.sigmoid(logits), torch.zeros_like(logits))
        axes = (0, 2, 3)
        overlap, size = (probability * truth).sum(axes), (probability + truth).sum(axes)
        dice = 1 - (2 * overlap + self.smooth) / (size + self.smooth)
        present = (truth.sum(axes) > 0).to(logits.dtype)
        return loss + self.dice_weight * (dice * present).sum() / present.sum().clamp(min=1)
