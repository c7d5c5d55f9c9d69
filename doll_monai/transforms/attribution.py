"""The steps from path-averaged gradients to a label. Every number in them is ours; the paper's were not available."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.utils import CommonKeys

from doll_monai.findings import BACKGROUND, FOREGROUND, IGNORE, IGNORED_TARGET, finding_index
from doll_monai.transforms.keywise import KeywiseTransform
from doll_monai.transforms.observations import by_observation
from doll_monai.utils.errors import InputError, explained

MAGNITUDES: dict[str, Callable[..., torch.Tensor]] = {"absolute": torch.abs, "positive": torch.relu}
SCALES: dict[str, Callable[..., torch.Tensor]] = {"max": torch.amax, "mass": torch.mean}


class MultiplyByInputd(KeywiseTransform):
    """Path-averaged gradient, (T, W, H), times (input - baseline): the attribution of Integrated Gradients, signed.

    ``image_key`` is the image that was explained, (1, W, H), ``baseline`` the baseline's gray value.
    """

    def __init__(self, keys: KeysCollection, image_key: str = "image", baseline: float = 0.0) -> None:
        super().__init__(keys)
        self.image_key = image_key
        self.baseline = baseline

    def convert(self, value: torch.Tensor, data: Mapping[Hashable, Any]) -> torch.Tensor:
        return value * (torch.as_tensor(data[self.image_key]) - self.baseline)


class AttributionMagnituded(KeywiseTransform):
    """Signed attribution, (T, W, H), to evidence >= 0.

    ``absolute`` counts evidence for and against, ``positive`` only evidence for the observation; an ``InputError`` for
    another kind.
    """

    @explained
    def __init__(self, keys: KeysCollection, kind: str = "absolute") -> None:
        super().__init__(keys)
        if kind not in MAGNITUDES:
            raise InputError(f"The magnitude must be one of {', '.join(MAGNITUDES)}, not '{kind}'.")
        self.magnitude = MAGNITUDES[kind]

    def convert(self, value: torch.Tensor, data: Mapping[Hashable, Any]) -> torch.Tensor:
        return self.magnitude(value)


class NormalizeAttributiond(KeywiseTransform):
    """Bring each channel, >= 0, to a scale that does not depend on the member's logits, before members are averaged.

    ``max`` divides by the channel's maximum, ``mass`` by its mean; a channel of zeros stays zero. An ``InputError`` for
    another kind.
    """

    @explained
    def __init__(self, keys: KeysCollection, kind: str = "max") -> None:
        super().__init__(keys)
        if kind not in SCALES:
            raise InputError(f"The normalization must be one of {', '.join(SCALES)}, not '{kind}'.")
        self.scale = SCALES[kind]

    def convert(self, value: torch.Tensor, data: Mapping[Hashable, Any]) -> torch.Tensor:
        scale = self.scale(value, dim=(1, 2), keepdim=True)
        return torch.where(scale > 0, value / scale.clamp(min=1e-30), torch.zeros_like(value))


class AttributionToLabeld(KeywiseTransform):
    """Consensus attribution to a label: each pixel 1 foreground, 0 background or 255 ignored.

    For a positive observation the brightest ``foreground_share`` of the image is foreground, the next
    ``ignore_share`` is ignored, the rest is background. A negative observation is background everywhere, an ignored
    one is ignored everywhere; so is one that has no place in the image (``unlocalized``), a positive one that the
    committee does not see itself (``min_probability``), and one without any evidence.

    The targets are ``label``, (T,) in [0, 1], negative where ignored, positive from 0.5 on; ``min_probability`` needs
    ``logits``, (T,), of the committee.

    Args:
        keys: consensus attributions >= 0, (T, W, H); replaced by the label, (T, W, H) ``uint8``.
        foreground_share: share of the pixels, one for all or by observation, with ``default`` for the rest.
        ignore_share: likewise.
        unlocalized: observations that have no place.
        min_probability: a positive observation whose probability is below is ignored; one number or by observation,
            with ``default`` for the rest; 0 lets everything pass.

    Raises:
        InputError: when a share, the sum of both or a probability is not in [0, 1]; ``KeyError``: unknown observation.
    """

    @explained
    def __init__(
        self,
        keys: KeysCollection,
        foreground_share: float | Mapping[str, float] = 0.1,
        ignore_share: float | Mapping[str, float] = 0.1,
        unlocalized: Sequence[str] = ("No Finding",),
        min_probability: float | Mapping[str, float] = 0.0,
    ) -> None:
        super().__init__(keys)
        self.foreground: list[float] = by_observation(foreground_share, 0.1)
        self.ignored: list[float] = by_observation(ignore_share, 0.1)
        self.min_probability: list[float] = by_observation(min_probability, 0.0)
        self.unlocalized = {finding_index(name) for name in unlocalized}
        for foreground, ignored in zip(self.foreground, self.ignored, strict=True):
            if min(foreground, ignored) < 0 or foreground + ignored > 1:
                raise InputError(f"Shares must lie in [0, 1] and so must their sum, not {foreground} and {ignored}.")
        for probability in self.min_probability:
            if not 0 <= probability <= 1:
                raise InputError(f"min_probability must lie in [0, 1], not {probability}.")

    def convert(self, value: torch.Tensor, data: Mapping[Hashable, Any]) -> torch.Tensor:
        target = torch.as_tensor(data[CommonKeys.LABEL])
        if any(self.min_probability):
            probability = torch.as_tensor(data["logits"]).float().sigmoid().to(target.device)
            seen = probability >= probability.new_tensor(self.min_probability)  # not where it is no number
            target = torch.where((target >= 0.5) & ~seen, torch.full_like(target, IGNORED_TARGET), target)
        label = torch.full(value.shape, BACKGROUND, dtype=torch.uint8)
        for channel in range(len(value)):
            if channel in self.unlocalized or target[channel] < 0:
                label[channel] = IGNORE
            elif target[channel] >= 0.5:
                label[channel] = self._regions(value[channel], channel)
        return label

    def _regions(self, attribution: torch.Tensor, channel: int) -> torch.Tensor:
        """Exactly the wanted numbers of pixels, by rank; equal values keep the order of the pixels."""
        if not bool(attribution.max() > 0):
            return torch.full(attribution.shape, IGNORE, dtype=torch.uint8)
        order = torch.argsort(attribution.flatten().cpu(), descending=True, stable=True)
        foreground = round(self.foreground[channel] * len(order))
        ignored = round(self.ignored[channel] * len(order))
        flat = torch.full((len(order),), BACKGROUND, dtype=torch.uint8)
        flat[order[:foreground]] = FOREGROUND
        flat[order[foreground : foreground + ignored]] = IGNORE
        return flat.view(attribution.shape)
