"""Image-level labels of the observations, and what uncertain and unmentioned ones mean."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Randomizable, Transform
from monai.utils import CommonKeys

from doll_monai.findings import FINDINGS, IGNORE, IGNORED_TARGET, finding_index
from doll_monai.utils.errors import InputError

POLICIES = ("ignore", "zeros", "ones", "smoothed")


class ObservationTargets(Randomizable, Transform):
    """Raw labels of the 14 observations (1, 0, -1, blank) to targets in [0, 1], or -1 for ignored.

    A policy says what an uncertain (-1), an unmentioned (blank) or a negative (0) label means: ``ignore``; ``zeros``;
    ``ones``; ``smoothed``, a number drawn anew each time from ``smoothed_range`` (Pham et al. 2019 draw uncertain ones
    from 0.55 to 0.85). A policy is one word for all observations, or a mapping from observation to word, in which
    ``default`` is for the rest.

    Args:
        uncertain: policy for -1.
        unmentioned: policy for blanks.
        negative: policy for 0. ``ones`` is for explanations alone: where would the classifier look for it?
        smoothed_range: bounds of the uniform distribution of ``smoothed``.

    Raises:
        ValueError: for an unknown policy.
        KeyError: for an unknown observation.
    """

    def __init__(
        self,
        uncertain: str | Mapping[str, str] = "ignore",
        unmentioned: str | Mapping[str, str] = "zeros",
        smoothed_range: Sequence[float] = (0.55, 0.85),
        negative: str | Mapping[str, str] = "zeros",
    ) -> None:
        self.negative = _policy_by_observation(negative)
        self.uncertain = _policy_by_observation(uncertain)
        self.unmentioned = _policy_by_observation(unmentioned)
        self.low, self.high = smoothed_range

    def __call__(self, label: Sequence[float | None]) -> torch.Tensor:
        """Args: label: 14 raw values. Returns: (14,) float32. Raises: InputError: for anything else."""
        if isinstance(label, str) or not isinstance(label, Sequence):
            raise InputError(f"A record needs {len(FINDINGS)} labels of observations, not {label!r}.")
        if len(label) != len(FINDINGS):
            raise InputError(f"A record needs {len(FINDINGS)} labels of observations, not {len(label)}.")
        return torch.tensor([self._target(channel, value) for channel, value in enumerate(label)])

    def _target(self, channel: int, value: float | None) -> float:
        if value is not None and value > 0:
            return float(value)
        policies = self.unmentioned if value is None else self.negative if value == 0 else self.uncertain
        policy = policies[channel]
        if policy == "smoothed":
            return float(self.R.uniform(self.low, self.high))
        return {"ignore": IGNORED_TARGET, "zeros": 0.0, "ones": 1.0}[policy]


class ObservationTargetsd(Randomizable, MapTransform):
    """Dictionary twin of ``ObservationTargets``.

    Args:
        keys: keys of the raw labels.
        uncertain, unmentioned, smoothed_range, negative: see ``ObservationTargets``.
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
        self.targets = ObservationTargets(uncertain, unmentioned, smoothed_range, negative)

    def set_random_state(self, seed: int | None = None, state: Any = None) -> ObservationTargetsd:
        """Set the random state of the drawn targets."""
        self.targets.set_random_state(seed, state)
        return self

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        for key in self.key_iterator(result):
            try:
                result[key] = self.targets(result[key])
            except InputError as error:
                image = result.get(CommonKeys.IMAGE)
                name = image.meta.get("filename_or_obj") if isinstance(image, MetaTensor) else image
                raise InputError(f"The labels of {name}: {error}") from error
        return result


def check_observations(
    records: Sequence[dict],
    uncertain: str | Mapping[str, str] = "ignore",
    unmentioned: str | Mapping[str, str] = "zeros",
) -> list[dict]:
    """Records to train a classifier on, which can learn at least one observation from them.

    Args:
        records: with raw labels, see ``ObservationTargets``.
        uncertain, unmentioned: policies.

    Returns:
        the records.

    Raises:
        InputError: when no observation is there in some images and absent in others, as the policies have it, or a
            record has no labels.
    """
    policies = ObservationTargets(uncertain, unmentioned)
    targets = ObservationTargetsd("label")
    targets.targets = policies
    bare = next((record for record in records if "label" not in record), None)
    if bare is not None:
        raise InputError(f"The image {bare.get('image')} has no labels of observations; add them to the datalist.")
    known = torch.stack([targets(record)["label"] for record in records])
    learnt = ((known >= 0.5).any(0) & ((known >= 0) & (known < 0.5)).any(0)).sum()
    if not learnt:
        raise InputError(
            f"None of the {len(FINDINGS)} observations is known to be there in one training image and absent in another"
            "; check the labels, and what uncertain and unmentioned stand for."
        )
    return list(records)


class ZeroIgnoredd(MapTransform):
    """Set the pixels that the label ignores to 0 in prediction and label, so that MONAI's metrics do not count them.

    Args:
        keys: keys of the prediction(s), (T, W, H) binary.
        label_key: key of the label, (T, W, H) with 0, 1 and 255.
    """

    def __init__(self, keys: KeysCollection = "pred", label_key: str = "label") -> None:
        super().__init__(keys)
        self.label_key = label_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        ignored = result[self.label_key] == IGNORE
        for key in (*self.key_iterator(result), self.label_key):
            result[key] = result[key].masked_fill(ignored, 0)
        return result


def _policy_by_observation(policy: str | Mapping[str, str]) -> list[str]:
    given: dict[str, str] = {"default": policy} if isinstance(policy, str) else dict(policy)
    policies = [given.pop("default", "ignore")] * len(FINDINGS)
    for name, word in given.items():
        policies[finding_index(name)] = word
    for word in policies:
        if word not in POLICIES:
            raise ValueError(f"A policy must be one of {', '.join(POLICIES)}, not '{word}'.")
    return policies
