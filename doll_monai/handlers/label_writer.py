"""Writing labels, their table and their provenance while an evaluator runs."""

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
            has them, ``completeness_error_k``, (T,), and ``n_steps_k``, (T,).
        label_key: the label, (T, W, H) ``uint8``.
        target_key: (T,) targets.
        map_prefix: with ``_k``, the members' processed maps, (T, W, H) >= 0.
    """

    def __init__(
        self,
        store: LabelStore,
        members: int,
        label_key: str = CommonKeys.PRED,
        target_key: str = CommonKeys.LABEL,
        map_prefix: str = "attribution",
    ) -> None:
        self.store = store
        self.members = members
        self.label_key = label_key
        self.target_key = target_key
        self.map_prefix = map_prefix

    def attach(self, engine: Engine) -> None:
        """Write after each iteration."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def _start(self, _engine: Engine) -> None:
        self.store.claim()

    def __call__(self, engine: Engine) -> None:
        labels: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        rows: list[dict[str, Any]] = []
        failures: dict[str, str] = {}
        maps: dict[str, tuple[np.ndarray, list[str]]] = {}
        for record, item in zip(batch_of(engine), output_of(engine), strict=True):
            image = item[CommonKeys.IMAGE]
            path = image.meta["filename_or_obj"]
            relative = self.store.relative(path)
            if record.get("error"):
                failures[relative] = record["error"].replace(str(path), relative)
            else:
                labels[path] = (item[self.label_key].cpu().numpy(), np.asarray(image.affine))
                channels = self._explained(item)
                rows += self._rows(relative, item, channels)
                if channels and relative in self.store.with_maps:
                    maps[path] = (self._maps(item, channels, SIDE), [FINDINGS[channel] for channel in channels])
        self.store.write(int(batch_of(engine)[0]["chunk"]), labels, rows, failures, maps)

    def _rows(self, image: str, item: Mapping[str, Any], explained: list[int]) -> list[dict[str, Any]]:
        logits = torch.stack([item[f"pred_{member}"] for member in range(self.members)]).mean(0)
        label = item[self.label_key]
        agreement = self._agreement(item, explained)
        return [
            {
                "image": image,
                "observation": FINDINGS[channel],
                "probability": round(float(torch.sigmoid(logits[channel])), 4),
                "completeness_error": self._completeness_error(item, channel),
                "n_steps": self._steps(item, channel),
                "foreground_share": round(float((label[channel] == FOREGROUND).float().mean()), 4),
                "agreement": agreement.get(channel),
            }
            for channel in range(len(FINDINGS))
            if item[self.target_key][channel] >= 0.5
        ]

    def _explained(self, item: Mapping[str, Any]) -> list[int]:
        """Positive observations of which every member has a map with anything in it."""
        positive = (channel for channel in range(len(FINDINGS)) if item[self.target_key][channel] >= 0.5)
        maps = [item[f"{self.map_prefix}_{member}"] for member in range(self.members)]
        return [channel for channel in positive if all(bool(values[channel].any()) for values in maps)]

    def _maps(self, item: Mapping[str, Any], channels: list[int], side: int) -> np.ndarray:
        """The members' maps of some observations, averaged to at most ``side`` cells: (K, T, W, H)."""
        members = [item[f"{self.map_prefix}_{member}"][channels] for member in range(self.members)]
        maps = torch.stack([values.as_subclass(torch.Tensor) for values in members]).float()
        return np.asarray(adaptive_avg_pool2d(maps, grid(maps.shape[2:], side)).cpu())

    def _agreement(self, item: Mapping[str, Any], channels: list[int]) -> dict[int, float]:
        """Mean rank correlation of every two members' maps of each explained observation; of coarse maps, for speed."""
        if self.members == 1 or not channels:
            return {}
        maps = self._maps(item, channels, AGREEMENT_SIDE)
        pairs = list(combinations(range(self.members), 2))
        return {
            channel: round(float(np.mean([rank_correlation(maps[a, n], maps[b, n]) for a, b in pairs])), 4)
            for n, channel in enumerate(channels)
        }

    def _completeness_error(self, item: Mapping[str, Any], channel: int) -> float | None:
        """The members' mean; None where an observation was not explained."""
        values = self._of_members(item, "completeness_error", channel)
        mean = float(torch.stack(values).mean()) if values else math.nan
        return None if math.isnan(mean) else round(mean, 5)

    def _steps(self, item: Mapping[str, Any], channel: int) -> int | None:
        """The most that any member needed."""
        values = self._of_members(item, "n_steps", channel)
        return max(int(value) for value in values) if values else None

    def _of_members(self, item: Mapping[str, Any], name: str, channel: int) -> list[torch.Tensor]:
        found = [item.get(f"{name}_{member}") for member in range(self.members)]
        values = [torch.as_tensor(value) for value in found if value is not None]
        return [value[channel] if value.ndim else value for value in values]
