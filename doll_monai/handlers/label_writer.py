"""Writing labels and their table while an evaluator runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.utils import CommonKeys
from torch.nn.functional import adaptive_avg_pool2d

from doll_monai.data.label_maps import SIDE, grid
from doll_monai.data.label_store import LabelStore
from doll_monai.findings import FINDINGS, FOREGROUND
from doll_monai.handlers.engine import batch_of, output_of
from doll_monai.metrics.maps import rank_correlation

AGREEMENT_SIDE = 32
"""Longer side, in cells, of the maps whose ranks are compared."""


class LabelWriter:
    """Hands each chunk's labels, and one table row an (image, positive observation), to the store.

    Works on the engine's decollated, post-processed output. The store writes in the background; call its ``finish``
    after the run. An image with an ``error`` in the batch gets no label.

    Args:
        store: where labels go.
        members: number K of members in the output: ``pred_k``, (T,) logits, and, where the source of the explanation
            has them, ``completeness_error_k``, (T,), and ``n_steps_k``, (T,) or one number;
            and ``attribution_k``, their processed maps, (T, W, H) >= 0; beside them ``pred``, the DoLL, (T, W, H)
            ``uint8``, and ``label``, (T,) targets.
    """

    def __init__(self, store: LabelStore, members: int) -> None:
        self.store = store
        self.members = members

    def attach(self, engine: Engine) -> None:
        """Write after each iteration."""
        engine.add_event_handler(Events.STARTED, self.store.claim)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        labels: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        rows: list[dict[str, Any]] = []
        failures: dict[str, str] = {}
        sheets: dict[str, tuple[np.ndarray, list[str]]] = {}
        for record, item in zip(batch_of(engine), output_of(engine), strict=True):
            path = item[CommonKeys.IMAGE].meta["filename_or_obj"]
            image = self.store.relative(path)
            if record.get("error"):
                failures[image] = record["error"].replace(str(path), image)
                continue
            labels[path] = (item[CommonKeys.PRED].cpu().numpy(), np.asarray(item[CommonKeys.IMAGE].affine))
            positive = [channel for channel in range(len(FINDINGS)) if item[CommonKeys.LABEL][channel] >= 0.5]
            maps = self._of_members(item, "attribution")[:, positive]
            explained = maps.flatten(2).any(-1).all(0).tolist()  # by every member
            maps = maps[:, explained].float()
            channels = [channel for channel, found in zip(positive, explained, strict=True) if found]
            rows += self._rows(image, item, positive, dict(zip(channels, _agreement(maps), strict=True)))
            if channels and image in self.store.with_maps:
                sheets[path] = (_small(maps, SIDE), [FINDINGS[channel] for channel in channels])
        self.store.write(int(batch_of(engine)[0]["chunk"]), labels, rows, failures, sheets)

    def _rows(
        self, image: str, item: Mapping[str, Any], positive: list[int], agreement: Mapping[int, float | None]
    ) -> list[dict[str, Any]]:
        probability = self._of_members(item, "pred").mean(0).sigmoid()
        shares = (item[CommonKeys.PRED] == FOREGROUND).float().mean((1, 2))
        errors, steps = (self._of_members(item, name) for name in ("completeness_error", "n_steps"))
        return [
            {
                "image": image,
                "observation": FINDINGS[channel],
                "probability": round(float(probability[channel]), 4),
                "completeness_error": _rounded(errors[:, channel].mean(), 5) if errors.numel() else None,
                "n_steps": int(steps[:, channel].max()) if steps.numel() else None,
                "foreground_share": round(float(shares[channel]), 4),
                "agreement": agreement.get(channel),
            }
            for channel in positive
        ]

    def _of_members(self, item: Mapping[str, Any], name: str) -> torch.Tensor:
        """What the output has of each member, (K, T, ...); empty when it has nothing."""
        found = [item.get(f"{name}_{member}") for member in range(self.members)]
        plain = [torch.as_tensor(value).as_subclass(torch.Tensor) for value in found if value is not None]
        return torch.stack(
            [value if value.ndim else value.expand(len(FINDINGS)) for value in plain or [torch.empty(0)]]
        )


def _small(maps: torch.Tensor, side: int) -> np.ndarray:
    """Maps (K, T, W, H) averaged to at most ``side`` cells along each axis."""
    return np.asarray(adaptive_avg_pool2d(maps, grid(maps.shape[2:], side)).cpu())


def _agreement(maps: torch.Tensor) -> list[float | None]:
    """Mean rank correlation of every two members' maps of each observation; of coarse maps, for speed.

    Args:
        maps: (K, T, W, H); with a lone member there is nothing to compare.
    """
    if len(maps) == 1 or maps.shape[1] == 0:
        return [None] * maps.shape[1]
    small = _small(maps, AGREEMENT_SIDE)
    pairs = list(combinations(range(len(maps)), 2))
    return [
        round(float(np.mean([rank_correlation(small[a, n], small[b, n]) for a, b in pairs])), 4)
        for n in range(small.shape[1])
    ]


def _rounded(value: torch.Tensor, digits: int) -> float | None:
    """None where an observation was not explained."""
    return None if math.isnan(value) else round(float(value), digits)
