"""The steps from path-averaged gradients to a label. Every number in them is ours; the paper's were not available."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

from doll_monai.findings import BACKGROUND, FINDINGS, FOREGROUND, IGNORE, IGNORED_TARGET, finding_index
from doll_monai.utils.errors import InputError


class MultiplyByInputd(MapTransform):
    """Path-averaged gradient times (input - baseline): the attribution of Integrated Gradients, signed.

    Args:
        keys: gradients, (T, W, H).
        image_key: the image that was explained, (1, W, H).
        baseline: the baseline's grey value.
    """

    def __init__(self, keys: KeysCollection, image_key: str = "image", baseline: float = 0.0) -> None:
        super().__init__(keys)
        self.image_key = image_key
        self.baseline = baseline

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        difference = torch.as_tensor(result[self.image_key]) - self.baseline
        for key in self.key_iterator(result):
            result[key] = result[key] * difference
        return result


class AttributionMagnituded(MapTransform):
    """Signed attribution to evidence >= 0.

    Args:
        keys: attributions, (T, W, H).
        kind: ``absolute`` counts evidence for and against, ``positive`` only evidence for the observation.

    Raises:
        ValueError: for another kind.
    """

    def __init__(self, keys: KeysCollection, kind: str = "absolute") -> None:
        super().__init__(keys)
        if kind not in ("absolute", "positive"):
            raise ValueError(f"kind must be 'absolute' or 'positive', not '{kind}'.")
        self.kind = kind

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        for key in self.key_iterator(result):
            result[key] = result[key].abs() if self.kind == "absolute" else result[key].clamp(min=0)
        return result


class NormalizeAttributiond(MapTransform):
    """Bring each channel to a scale that does not depend on the member's logits, before members are averaged.

    Args:
        keys: attributions >= 0, (T, W, H).
        kind: ``max`` divides by the channel's maximum, ``mass`` by its mean. A channel of zeros stays zero.

    Raises:
        ValueError: for another kind.
    """

    def __init__(self, keys: KeysCollection, kind: str = "max") -> None:
        super().__init__(keys)
        if kind not in ("max", "mass"):
            raise ValueError(f"kind must be 'max' or 'mass', not '{kind}'.")
        self.kind = kind

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        for key in self.key_iterator(result):
            values = result[key]
            scale = values.amax(dim=(1, 2), keepdim=True) if self.kind == "max" else values.mean((1, 2), keepdim=True)
            result[key] = torch.where(scale > 0, values / scale.clamp(min=1e-30), torch.zeros_like(values))
        return result


class AttributionToLabeld(MapTransform):
    """Consensus attribution to a label: each pixel 1 foreground, 0 background or 255 ignored.

    For a positive observation the brightest ``foreground_share`` of the image is foreground, the next
    ``ignore_share`` is ignored, the rest is background. A negative observation is background everywhere, an ignored
    one is ignored everywhere; so is one that has no place in the image (``unlocalized``), and a positive one that the
    committee does not see itself (``min_probability``).

    Args:
        keys: consensus attributions >= 0, (T, W, H); replaced by the label, (T, W, H) ``uint8``.
        target_key: (T,) targets in [0, 1], negative where ignored; positive from 0.5 on.
        foreground_share: share of the pixels, one for all or by observation, with ``default`` for the rest.
        ignore_share: likewise.
        unlocalized: observations that have no place.
        min_probability: a positive observation whose probability is below is ignored; one number or by observation,
            with ``default`` for the rest; 0 lets everything pass.
        logits_key: (T,) logits of the committee, whose sigmoid is the probability; needed for ``min_probability`` only.

    Raises:
        ValueError: when a share, or their sum, is not in [0, 1].
        InputError: when a probability is not in [0, 1].
        KeyError: for an unknown observation.
    """

    def __init__(
        self,
        keys: KeysCollection,
        target_key: str = "label",
        foreground_share: float | Mapping[str, float] = 0.1,
        ignore_share: float | Mapping[str, float] = 0.1,
        unlocalized: Sequence[str] = ("No Finding",),
        min_probability: float | Mapping[str, float] = 0.0,
        logits_key: str = "logits",
    ) -> None:
        super().__init__(keys)
        self.target_key = target_key
        self.logits_key = logits_key
        self.foreground = _by_observation(foreground_share, 0.1)
        self.ignored = _by_observation(ignore_share, 0.1)
        self.min_probability = _by_observation(min_probability, 0.0)
        self.unlocalized = {finding_index(name) for name in unlocalized}
        for foreground, ignored in zip(self.foreground, self.ignored, strict=True):
            if min(foreground, ignored) < 0 or foreground + ignored > 1:
                raise ValueError(f"Shares must lie in [0, 1] and so must their sum, not {foreground} and {ignored}.")
        for probability in self.min_probability:
            if not 0 <= probability <= 1:
                raise InputError(f"min_probability must lie in [0, 1], not {probability}.")

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        target = self._gated(result)
        for key in self.key_iterator(result):
            result[key] = self._label(result[key], target)
        return result

    def _gated(self, data: Mapping[Hashable, Any]) -> torch.Tensor:
        """The targets; positive ones that the committee gives too small a probability are ignored."""
        target = torch.as_tensor(data[self.target_key])
        if not any(self.min_probability):
            return target
        probability = torch.as_tensor(data[self.logits_key]).float().sigmoid()
        wanted = probability.new_tensor(self.min_probability)
        unseen = ((probability < wanted) | probability.isnan()).to(target.device)
        return torch.where((target >= 0.5) & unseen, torch.full_like(target, IGNORED_TARGET), target)

    def _label(self, attribution: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        label = torch.full(attribution.shape, BACKGROUND, dtype=torch.uint8)
        for channel in range(len(attribution)):
            if channel in self.unlocalized or target[channel] < 0:
                label[channel] = IGNORE
            elif target[channel] >= 0.5:
                label[channel] = self._regions(attribution[channel], channel)
        return label

    def _regions(self, attribution: torch.Tensor, channel: int) -> torch.Tensor:
        """Exactly the wanted numbers of pixels, by rank; equal values keep the order of the pixels.

        Without any evidence nothing is known about the place: all of it is ignored.
        """
        if not bool(attribution.max() > 0):
            return torch.full(attribution.shape, IGNORE, dtype=torch.uint8)
        order = torch.argsort(attribution.flatten().cpu(), descending=True, stable=True)
        foreground = round(self.foreground[channel] * len(order))
        ignored = round(self.ignored[channel] * len(order))
        flat = torch.full((len(order),), BACKGROUND, dtype=torch.uint8)
        flat[order[:foreground]] = FOREGROUND
        flat[order[foreground : foreground + ignored]] = IGNORE
        return flat.view(attribution.shape)


def _by_observation(value: float | Mapping[str, float], default: float) -> list[float]:
    """A number for each of the 14 observations, from one for all or some by name."""
    given = dict(value) if isinstance(value, Mapping) else {"default": value}
    numbers = [float(given.pop("default", default))] * len(FINDINGS)
    for name, number in given.items():
        numbers[finding_index(name)] = float(number)
    return numbers
