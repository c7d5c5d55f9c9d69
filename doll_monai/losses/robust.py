"""Losses that a network cannot lower much by learning wrong labels by heart; ignored pixels contribute nothing."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from doll_monai.losses.partial import known_pixels
from doll_monai.utils.errors import InputError, explained


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
        logits, foreground, known = known_pixels(logits, label)
        probability = torch.sigmoid(logits) * known
        error = (probability - foreground).abs().pow(self.exponent).sum((0, 2, 3))
        size = (probability.square() + foreground).sum((0, 2, 3))
        present = (foreground.sum((0, 2, 3)) > 0).to(logits.dtype)
        return (present * error / size.clamp(min=1)).sum() / present.sum().clamp(min=1)


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
        logits, foreground, known = known_pixels(logits, label)
        weight = foreground + self.background_weight * (known - foreground)
        agreement = F.logsigmoid(logits * (2 * foreground - 1))
        return (weight * -torch.expm1(self.q * agreement) / self.q).sum() / weight.sum().clamp(min=1e-6)
