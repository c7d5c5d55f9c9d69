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
from doll_monai.metrics.localization import rank_correlation

AGREEMENT_SIDE = 32  # longer side, in cells, of the maps whose ranks are compared: coarse ones, for speed


class LabelWriter:
    """Hands each chunk's labels, and one table row an (image, positive observation), to the store.

    Works on the engine's decollated, post-processed output. The store writes in the background; call its ``finish``
    after the run. An image with an ``error`` in the batch gets no label.

    Args:
        store: where labels go.
        members: number K of members in the output: ``pred_k``, (T,) logits; ``attribution_k``, processed maps,
            (T, W, H) >= 0; perhaps ``completeness_error_k``, (T,), and ``n_steps_k``, (T,) or one number. Beside them
            are ``pred``, the DoLL, (T, W, H) ``uint8``, and ``label``, (T,) targets.
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
        kept: dict[str, tuple[np.ndarray, list[str]]] = {}
        for record, item in zip(batch_of(engine), output_of(engine), strict=True):
            path = item[CommonKeys.IMAGE].meta["filename_or_obj"]
            image = self.store.relative(path)
            if record.get("error"):
                failures[image] = record["error"].replace(str(path), image)
                continue
            labels[path] = (item[CommonKeys.PRED].cpu().numpy(), np.asarray(item[CommonKeys.IMAGE].affine))
            maps = self._of_members(item, "attribution").float()
            positive = (item[CommonKeys.LABEL] >= 0.5).nonzero().flatten().tolist()
            explained = [channel for channel in positive if maps[:, channel].flatten(1).any(-1).all()]
            agreement = {channel: _agreement(maps[:, channel]) for channel in explained}
            rows += self._rows(image, item, positive, agreement)
            if explained and image in self.store.with_maps:
                kept[path] = (_reduced(maps[:, explained], SIDE), [FINDINGS[channel] for channel in explained])
        self.store.write(int(batch_of(engine)[0]["chunk"]), labels, rows, failures, kept)

    def _rows(
        self, image: str, item: Mapping[str, Any], positive: list[int], agreement: Mapping[int, float | None]
    ) -> list[dict[str, Any]]:
        probability = self._of_members(item, "pred").mean(0).sigmoid()
        shares = (item[CommonKeys.PRED] == FOREGROUND).float().mean((1, 2))
        errors = self._of_members(item, "completeness_error").mean(0)
        steps = self._of_members(item, "n_steps").amax(0)
        return [
            {
                "image": image,
                "observation": FINDINGS[channel],
                "probability": round(float(probability[channel]), 4),
                "completeness_error": None if math.isnan(errors[channel]) else round(float(errors[channel]), 5),
                "n_steps": None if math.isnan(steps[channel]) else int(steps[channel]),
                "foreground_share": round(float(shares[channel]), 4),
                "agreement": agreement.get(channel),
            }
            for channel in positive
        ]

    def _of_members(self, item: Mapping[str, Any], name: str) -> torch.Tensor:
        """What the output has of each member, (K, T, ...); NaN when it has nothing."""
        found = [torch.as_tensor(item.get(f"{name}_{member}", float("nan"))) for member in range(self.members)]
        plain = [value.as_subclass(torch.Tensor) for value in found]
        return torch.stack([value if value.ndim else value.expand(len(FINDINGS)) for value in plain])


def _reduced(maps: torch.Tensor, side: int) -> np.ndarray:
    """Maps (..., W, H) averaged to at most ``side`` cells along each axis."""
    return np.asarray(adaptive_avg_pool2d(maps, grid(maps.shape[-2:], side)).cpu())


def _agreement(maps: torch.Tensor) -> float | None:
    """Mean rank correlation of every two members' maps (K, W, H) of an observation; None for a lone member."""
    pairs = [rank_correlation(*pair) for pair in combinations(_reduced(maps, AGREEMENT_SIDE), 2)]
    return round(float(np.mean(pairs)), 4) if pairs else None
