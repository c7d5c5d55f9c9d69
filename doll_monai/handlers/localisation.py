"""How well attributions and labels agree with known places of findings."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from ignite.engine import Engine, Events
from monai.utils import CommonKeys

from doll_monai.data.datalist import write_whole
from doll_monai.data.truth import Truth
from doll_monai.findings import FINDINGS
from doll_monai.networks import Committee, member_keys
from doll_monai.transforms import AttributionToLabeld

from .engine import output_of

COLUMNS = ("image", "observation", "source", "share", "iou", "hit", "truth_share")
"""Columns of the table: IoU of the brightest ``share`` of the map with the truth; hit: the maximum lies inside."""


class LocalisationScorer:
    """Scores maps against the truth at several foreground shares; writes a table when the run is complete.

    Args:
        truth: the known places.
        sources: name of a source in the table to its key in the post-processed output, (T, W, H) maps >= 0.
        shares: shares of the image's pixels to take as foreground.
        path: CSV file to write.
        target_key: (T,) targets; only positive observations are scored.
    """

    def __init__(
        self,
        truth: Truth,
        sources: Mapping[str, str],
        shares: Sequence[float],
        path: str | os.PathLike,
        target_key: str = CommonKeys.LABEL,
    ) -> None:
        self.truth = truth
        self.sources = dict(sources)
        self.shares = list(shares)
        self.path = Path(path)
        self.target_key = target_key
        self._rows: list[dict[str, Any]] = []

    def attach(self, engine: Engine) -> None:
        """Score after each iteration, write when the run is complete."""
        engine.add_event_handler(Events.STARTED, self._rows.clear)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def __call__(self, engine: Engine) -> None:
        for image, channel, mask, item in scored_pairs(engine, self.truth, self.target_key):
            self._score(image, channel, mask, item)

    def _score(self, image: str, channel: int, mask: torch.Tensor, item: Mapping[str, Any]) -> None:
        truth = mask.flatten()
        for source, key in self.sources.items():
            values = torch.as_tensor(item[key])[channel].flatten().cpu()
            inside = truth[torch.argsort(values, descending=True, stable=True)].cumsum(0)
            if not bool(values.max() > 0):  # without evidence nothing is found, and no label written
                inside = torch.zeros_like(inside)
            for share in self.shares:
                n = max(round(share * len(truth)), 1)
                overlap = int(inside[n - 1])
                self._rows.append(
                    {
                        "image": image,
                        "observation": FINDINGS[channel],
                        "source": source,
                        "share": share,
                        "iou": round(overlap / (n + int(truth.sum()) - overlap), 5),
                        "hit": int(inside[0]),
                        "truth_share": round(float(truth.float().mean()), 5),
                    }
                )

    def _write(self, _engine: Engine) -> None:
        table = pd.DataFrame(self._rows, columns=list(COLUMNS))
        write_whole(self.path, table.to_csv(index=False).encode())


def scored_pairs(
    engine: Engine, truth: Truth, target_key: str = CommonKeys.LABEL
) -> Iterator[tuple[str, int, torch.Tensor, Mapping[str, Any]]]:
    """The pairs of a positive observation and its known place in the engine's decollated output.

    Yields:
        the film's path below ``dataset_dir``, the observation's channel, the place as (W, H) bool, and the film's item.
    """
    for item in output_of(engine):
        path = item[CommonKeys.IMAGE].meta["filename_or_obj"]
        size = tuple(item[CommonKeys.IMAGE].shape[1:])
        for channel, mask in truth.masks(path, size).items():
            if item[target_key][channel] >= 0.5:
                yield truth.relative(path), channel, mask, item


def label_shares(foreground_share: float | Mapping[str, float]) -> list[float]:
    """The label's own foreground share of each of the 14 observations, as ``AttributionToLabeld`` reads it."""
    return AttributionToLabeld("pred", foreground_share=foreground_share, ignore_share=0.0).foreground


def with_label_shares(shares: Sequence[float], foreground_share: float | Mapping[str, float]) -> list[float]:
    """The shares to score, ascending, with the label's own among them."""
    return sorted({*map(float, shares), *label_shares(foreground_share)})


def localisation_sources(committee: Committee) -> dict[str, str]:
    """The sources that are compared, by name: the consensus, each member alone, and Grad-CAM's consensus."""
    members = {f"member_{number}": key for number, key in enumerate(member_keys("attribution", committee))}
    return {"consensus": "consensus", **members, "gradcam": "gradcam"}
