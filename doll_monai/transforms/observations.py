"""Image-level labels of the observations, and what uncertain and unmentioned ones mean."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Randomizable
from monai.utils import CommonKeys, ensure_tuple

from doll_monai.findings import FINDINGS, IGNORE, IGNORED_TARGET, finding_index
from doll_monai.transforms.keywise import KeywiseTransform
from doll_monai.utils.errors import InputError

POLICIES = {"ignore": IGNORED_TARGET, "zeros": 0.0, "ones": 1.0, "smoothed": None}
"""Word to target; None is drawn."""


def by_observation(value: Any, default: Any) -> list[Any]:
    """A value for each of the 14 observations, from one for all, or a mapping by name with ``default`` for the rest.

    ``default`` is for a mapping that has none; a ``KeyError`` for an unknown observation.
    """
    given = dict(value) if isinstance(value, Mapping) else {"default": value}
    values = [given.pop("default", default)] * len(FINDINGS)
    for name, own in given.items():
        values[finding_index(name)] = own
    return values


def _policies(policy: str | Mapping[str, str]) -> list[str]:
    words = by_observation(policy, "ignore")
    for word in words:
        if word not in POLICIES:
            raise InputError(f"A policy must be one of {', '.join(POLICIES)}, not '{word}'.")
    return words


class ObservationTargetsd(Randomizable, MapTransform):
    """Raw labels of the 14 observations (1, 0, -1, blank) to targets, (14,) ``float32`` in [0, 1], or -1 for ignored.

    A policy says what an uncertain (-1), an unmentioned (blank) or a negative (0) label means: ``ignore``; ``zeros``;
    ``ones``; ``smoothed``, a number drawn anew each time from ``smoothed_range`` (Pham et al. 2019 draw uncertain ones
    from 0.55 to 0.85). A policy is one word for all observations, or a mapping from observation to word, in which
    ``default`` is for the rest.

    Args:
        uncertain: policy for -1.
        unmentioned: policy for blanks.
        smoothed_range: bounds of the uniform distribution of ``smoothed``.
        negative: policy for 0. ``ones`` is for explanations alone: where would the classifier look for it?

    Raises:
        InputError: for an unknown policy; when called, for anything but 14 labels or none, with the image's name.
        KeyError: for an unknown observation.
    """

    def __init__(
        self,
        keys: KeysCollection = "label",
        uncertain: str | Mapping[str, str] = "ignore",
        unmentioned: str | Mapping[str, str] = "zeros",
        smoothed_range: Sequence[float] = (0.55, 0.85),
        negative: str | Mapping[str, str] = "zeros",
    ) -> None:
        super().__init__(keys)
        self.uncertain, self.unmentioned, self.negative = map(_policies, (uncertain, unmentioned, negative))
        self.low, self.high = smoothed_range

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        for key in self.keys:
            label, image = result.get(key), result.get(CommonKeys.IMAGE)
            if not isinstance(label, list | tuple) or len(label) != len(FINDINGS):
                given = len(label) if isinstance(label, list | tuple) else label
                name = image.meta.get("filename_or_obj") if isinstance(image, MetaTensor) else image
                raise InputError(f"The image {name} needs {len(FINDINGS)} labels of observations, not {given!r}.")
            result[key] = torch.tensor([self._target(channel, value) for channel, value in enumerate(label)])
        return result

    def _target(self, channel: int, value: float | None) -> float:
        if value is not None and value > 0:
            return float(value)
        policies = self.unmentioned if value is None else self.negative if value == 0 else self.uncertain
        target = POLICIES[policies[channel]]
        return float(self.R.uniform(self.low, self.high)) if target is None else target


def check_observations(
    records: Sequence[dict],
    uncertain: str | Mapping[str, str] = "ignore",
    unmentioned: str | Mapping[str, str] = "zeros",
) -> list[dict]:
    """Records with raw labels to train a classifier on, which can learn at least one observation from them.

    Raises:
        InputError: when no observation is there in some images and absent in others, as the policies have it, or a
            record has no labels.
    """
    targets = ObservationTargetsd("label", uncertain=uncertain, unmentioned=unmentioned)
    known = torch.stack([targets(record)["label"] for record in records])
    if not ((known >= 0.5).any(0) & ((known >= 0) & (known < 0.5)).any(0)).any():
        raise InputError(
            f"None of the {len(FINDINGS)} observations is known to be there in one training image and absent in another"
            "; check the labels, and what uncertain and unmentioned stand for."
        )
    return list(records)


class ZeroIgnoredd(KeywiseTransform):
    """Set the pixels that the label ignores to 0 in prediction and label, so that MONAI's metrics do not count them.

    ``keys`` are of predictions, (T, W, H) binary; the label is (T, W, H) with 0, 1 and 255.
    """

    def __init__(self, keys: KeysCollection = "pred", label_key: str = "label") -> None:
        super().__init__([*ensure_tuple(keys), label_key])
        self.label_key = label_key

    def convert(self, value: torch.Tensor, data: Mapping[Hashable, Any]) -> torch.Tensor:
        return value.masked_fill(data[self.label_key] == IGNORE, 0)  # the label itself comes last
