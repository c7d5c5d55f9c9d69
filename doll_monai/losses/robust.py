"""Losses that a network cannot lower much by learning wrong labels by heart; ignored pixels contribute nothing."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from monai.data import MetaTensor
from torch import nn

from doll_monai.findings import IGNORE
from doll_monai.losses.partial import pixel_masks


class NoiseRobustDiceLoss(nn.Module):
    """Dice with an error between linear and squared (Wang et al. 2020, COPLE-Net), for overlapping channels.

    With ``g`` the label, ``p`` the predicted probability, and sums over the pixels of a batch that are not ignored::

        loss(channel) = sum |p - g|^exponent / (sum p^2 + sum g^2)

    The mean is over the channels that have foreground in the batch; a channel without any has no say, since its
    quotient would fall as p grows.

    Args:
        exponent: 2 is Dice with squares, 1 resembles the mean absolute error; 1.5 is the paper's.
        ignore_index: pixel value that is ignored.

    Raises:
        ValueError: when ``exponent`` is not between 1 and 2.
    """

    def __init__(self, exponent: float = 1.5, ignore_index: int = IGNORE) -> None:
        super().__init__()
        if not 1 <= exponent <= 2:
            raise ValueError(f"exponent must be between 1 and 2, not {exponent}.")
        self.exponent = exponent
        self.ignore_index = ignore_index

    def forward(self, logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Args: logits: (B, T, H, W). label: (B, T, H, W) with 0, 1 and ``ignore_index``. Returns: a scalar."""
        logits, label = _plain(logits), _plain(label)
        truth, weight, known = pixel_masks(label, self.ignore_index, 1.0, logits.dtype)
        probability = torch.sigmoid(_without_ignored(logits, known)) * weight
        error = (probability - truth).abs().pow(self.exponent).sum((0, 2, 3))
        size = (probability.square() + truth).sum((0, 2, 3))
        present = (truth.sum((0, 2, 3)) > 0).to(logits.dtype)
        return (present * error / size.clamp(min=1)).sum() / present.sum().clamp(min=1)


class GeneralizedCrossEntropyLoss(nn.Module):
    """Generalized cross-entropy (Zhang & Sabuncu 2018), binary in each channel.

    With ``c`` the probability that the network gives to what the label says, and ``w`` = 1 on foreground and
    ``background_weight`` on background::

        loss = sum w * (1 - c^q) / q / sum w        over the pixels that are not ignored

    A pixel's gradient is that of cross-entropy times c^q: what the network contradicts with confidence counts little.

    Args:
        q: towards 0 cross-entropy, 1 the mean absolute error; 0.7 is the paper's.
        background_weight: weight of a background pixel, ours.
        ignore_index: pixel value that is ignored.

    Raises:
        ValueError: when ``q`` is not above 0 and at most 1.
    """

    def __init__(self, q: float = 0.7, background_weight: float = 1.0, ignore_index: int = IGNORE) -> None:
        super().__init__()
        if not 0 < q <= 1:
            raise ValueError(f"q must be above 0 and at most 1, not {q}.")
        self.q = q
        self.background_weight = background_weight
        self.ignore_index = ignore_index

    def forward(self, logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Args: logits: (B, T, H, W). label: (B, T, H, W) with 0, 1 and ``ignore_index``. Returns: a scalar."""
        logits, label = _plain(logits), _plain(label)
        truth, weight, known = pixel_masks(label, self.ignore_index, self.background_weight, logits.dtype)
        agreement = F.logsigmoid(_without_ignored(logits, known) * (2 * truth - 1))
        loss = -torch.expm1(self.q * agreement) / self.q
        return (weight * loss).sum() / weight.sum().clamp(min=1e-6)


def _plain(x: torch.Tensor) -> torch.Tensor:
    return x.as_tensor() if isinstance(x, MetaTensor) else x


def _without_ignored(logits: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Zero where ignored, whatever the network said there, infinity included; so is the gradient."""
    return torch.where(known, logits, torch.zeros_like(logits))
