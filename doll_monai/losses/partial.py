"""Losses for labels that are partly unknown or wrong; an ignored observation or pixel contributes exactly nothing."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from monai.losses import DiceLoss
from torch import nn

from doll_monai.findings import IGNORE
from doll_monai.utils.errors import InputError, explained


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
        logits, foreground, known = _known_pixels(logits, label)
        weight = foreground + self.background_weight * (known - foreground)
        loss = F.binary_cross_entropy_with_logits(logits, foreground, weight=weight, reduction="sum")
        loss = loss / weight.sum().clamp(min=1e-6)
        dice = self.dice(torch.sigmoid(logits) * known, foreground).flatten()
        return loss + self.dice_weight * _mean_of_present(dice, foreground)


class NoiseRobustDiceLoss(nn.Module):
    """Dice with an error between linear and squared (Wang et al. 2020, COPLE-Net), for overlapping channels.

    With ``g`` the label, ``p`` the predicted probability, and sums over the pixels of a batch that are not ignored::

        loss(channel) = sum |p - g|^exponent / (sum p^2 + sum g^2)

    The mean is over the channels that have foreground in the batch: the quotient of another would fall as p grows.
    ``exponent`` is 2 for Dice with squares; 1 resembles the mean absolute error; 1.5 is the paper's. Outside 1 to 2, it
    is an ``InputError``.
    """

    @explained
    def __init__(self, exponent: float = 1.5) -> None:
        super().__init__()
        if not 1 <= exponent <= 2:
            raise InputError(f"exponent must be between 1 and 2, not {exponent}.")
        self.exponent = exponent

    def forward(self, logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Args: logits: (B, T, H, W). label: (B, T, H, W) with 0, 1 and 255, ignored. Returns: a scalar."""
        logits, foreground, known = _known_pixels(logits, label)
        probability = torch.sigmoid(logits) * known
        error = (probability - foreground).abs().pow(self.exponent).sum((0, 2, 3))
        size = (probability.square() + foreground).sum((0, 2, 3))
        return _mean_of_present(error / size.clamp(min=1), foreground)


class GeneralizedCrossEntropyLoss(nn.Module):
    """Generalized cross-entropy (Zhang & Sabuncu 2018), binary in each channel.

    With ``c`` the probability that the network gives to what the label says, and ``w`` = 1 on foreground and
    ``background_weight`` on background::

        loss = sum w * (1 - c^q) / q / sum w        over the pixels that are not ignored

    A pixel's gradient is that of cross-entropy times c^q: what the network contradicts with confidence counts little.
    ``q`` towards 0 is cross-entropy, 1 the mean absolute error, 0.7 the paper's; outside (0, 1], it is an
    ``InputError``. The weight of background is ours.
    """

    @explained
    def __init__(self, q: float = 0.7, background_weight: float = 1.0) -> None:
        super().__init__()
        if not 0 < q <= 1:
            raise InputError(f"q must be above 0 and at most 1, not {q}.")
        self.q = q
        self.background_weight = background_weight

    def forward(self, logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Args: logits: (B, T, H, W). label: (B, T, H, W) with 0, 1 and 255, ignored. Returns: a scalar."""
        logits, foreground, known = _known_pixels(logits, label)
        weight = foreground + self.background_weight * (known - foreground)
        agreement = F.logsigmoid(logits * (2 * foreground - 1))
        return (weight * -torch.expm1(self.q * agreement) / self.q).sum() / weight.sum().clamp(min=1e-6)


def _known_pixels(logits: torch.Tensor, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What a loss sees of logits and label (B, T, H, W): logits, foreground and known pixels as 0 and 1 of their type.

    Logits are zero where ignored, whatever the network said there, infinity included; so is the gradient.
    """
    logits, label = logits.as_subclass(torch.Tensor), label.as_subclass(torch.Tensor)
    known = label != IGNORE
    foreground = (label > 0) & known
    return torch.where(known, logits, torch.zeros_like(logits)), foreground.to(logits.dtype), known.to(logits.dtype)


def _mean_of_present(loss: torch.Tensor, foreground: torch.Tensor) -> torch.Tensor:
    """Mean of a loss (T,) over the channels with foreground, (B, T, H, W)."""
    present = (foreground.sum((0, 2, 3)) > 0).to(loss.dtype)
    return (loss * present).sum() / present.sum().clamp(min=1)
