"""Losses to which an ignored observation or pixel contributes exactly nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from monai.data import MetaTensor
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

    Dice is summed over the batch and averaged over the channels that have foreground in it. The combination
    is ours; a low background weight (0.1) is what PSSL (arXiv 2207.03335) used.

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
        plain_logits, plain_label = (x.as_tensor() if isinstance(x, MetaTensor) else x for x in (logits, label))
        weights = (self.background_weight, self.dice_weight, self.smooth)
        loss = _PartialLabelFunction.apply(plain_logits, plain_label, self.ignore_index, *weights)
        assert isinstance(loss, torch.Tensor)
        return loss


class _PartialLabelFunction(torch.autograd.Function):
    """The loss and its derivative, image by image.

    Fourteen channels at full resolution do not fit a processor's cache; written with ordinary operations the loss
    took longer than the network. One image does fit, and the derivative needs no stored intermediate but the
    probabilities.
    """

    @staticmethod
    def forward(
        ctx: Any,
        logits: torch.Tensor,
        label: torch.Tensor,
        ignore_index: int,
        background_weight: float,
        dice_weight: float,
        smooth: float,
    ) -> torch.Tensor:
        probability = torch.sigmoid(logits)
        pixel_loss, pixel_weight = logits.new_zeros(()), logits.new_zeros(())
        overlap, size, foreground = (logits.new_zeros(logits.shape[1]) for _ in range(3))
        for number in range(len(logits)):
            truth, weight, known = pixel_masks(label[number], ignore_index, background_weight, logits.dtype)
            pixel = F.softplus(logits[number]).sub_(logits[number] * truth)
            pixel_loss += pixel.mul_(weight).masked_fill_(weight == 0, 0).sum()
            pixel_weight += weight.sum()
            overlap += (probability[number] * truth).sum((1, 2))
            foreground += truth.sum((1, 2))
            size += probability[number].masked_fill(~known, 0).sum((1, 2))
        size += foreground
        present = (foreground > 0).to(logits.dtype)
        pixel_weight = pixel_weight.clamp(min=1e-6)
        dice = 1 - (2 * overlap + smooth) / (size + smooth)
        channels = present.sum().clamp(min=1)
        ctx.save_for_backward(probability, label, pixel_weight, overlap, size, present / channels)
        ctx.settings = (ignore_index, background_weight, dice_weight, smooth)
        return pixel_loss / pixel_weight + dice_weight * (dice * present).sum() / channels

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        probability, label, pixel_weight, overlap, size, share = ctx.saved_tensors
        ignore_index, background_weight, dice_weight, smooth = ctx.settings
        (outer,) = gradients
        result = torch.empty_like(probability)
        # derivative of a channel's Dice by p: (2 overlap + s) / (size + s)^2, less 2 / (size + s) on foreground
        on_all = (dice_weight * share * (2 * overlap + smooth) / (size + smooth) ** 2)[:, None, None]
        on_truth = (dice_weight * share * 2 / (size + smooth))[:, None, None]
        for number in range(len(probability)):
            truth, weight, known = pixel_masks(label[number], ignore_index, background_weight, probability.dtype)
            p = probability[number]
            gradient = (p - truth).mul_(weight).div_(pixel_weight)
            if dice_weight != 0:
                gradient += (on_all - on_truth * truth).mul_(p).mul_(1 - p)
            result[number] = gradient.masked_fill_(~known, 0).mul_(outer)
        return result, None, None, None, None, None


def pixel_masks(
    label: torch.Tensor, ignore_index: int, background_weight: float, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Foreground as numbers, weight of each pixel (0 where ignored), and which pixels are known."""
    known = label != ignore_index
    truth = ((label > 0) & known).to(dtype)
    weight = truth * (1 - background_weight) + known.to(dtype) * background_weight
    return truth, weight, known
