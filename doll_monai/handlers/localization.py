"""How well attributions and labels agree with known places of findings."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from monai.utils import CommonKeys

from doll_monai.data.ground_truth import GroundTruth
from doll_monai.findings import FINDINGS
from doll_monai.handlers.pair_table import PairTable, Row
from doll_monai.networks.committee import Committee, member_keys
from doll_monai.transforms.attribution import AttributionToLabeld

COLUMNS = ("image", "observation", "source", "share", "iou", "hit", "truth_share")
"""Columns of the table: IoU of the brightest ``share`` of the map with the truth; hit: the maximum lies inside."""


class LocalizationScorer(PairTable):
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
        truth: GroundTruth,
        sources: Mapping[str, str],
        shares: Sequence[float],
        path: str | os.PathLike,
        target_key: str = CommonKeys.LABEL,
    ) -> None:
        super().__init__(truth, COLUMNS, path, target_key)
        self.sources = dict(sources)
        self.shares = list(shares)

    def rows(self, image: str, channel: int, mask: torch.Tensor, item: Mapping[str, Any]) -> Iterable[Row]:
        """A row for each source and share."""
        truth = mask.flatten()
        for source, key in self.sources.items():
            values = torch.as_tensor(item[key])[channel].flatten().cpu()
            inside = truth[torch.argsort(values, descending=True, stable=True)].cumsum(0)
            if not bool(values.max() > 0):  # without evidence nothing is found, and no label written
                inside = torch.zeros_like(inside)
            for share in self.shares:
                n = max(round(share * len(truth)), 1)
                overlap = int(inside[n - 1])
                yield {
                    "image": image,
                    "observation": FINDINGS[channel],
                    "source": source,
                    "share": share,
                    "iou": round(overlap / (n + int(truth.sum()) - overlap), 5),
                    "hit": int(inside[0]),
                    "truth_share": round(float(truth.float().mean()), 5),
                }


def label_shares(foreground_share: float | Mapping[str, float]) -> list[float]:
    """The label's own foreground share of each of the 14 observations, as ``AttributionToLabeld`` reads it."""
    return AttributionToLabeld("pred", foreground_share=foreground_share, ignore_share=0.0).foreground


def with_label_shares(shares: Sequence[float], foreground_share: float | Mapping[str, float]) -> list[float]:
    """The shares to score, ascending, with the label's own among them."""
    return sorted({*map(float, shares), *label_shares(foreground_share)})


def localization_sources(committee: Committee) -> dict[str, str]:
    """The sources that are compared, by name: the consensus, each member alone, and Grad-CAM's consensus."""
    members = {f"member_{number}": key for number, key in enumerate(member_keys("attribution", committee))}
    return {"consensus": "consensus", **members, "gradcam": "gradcam"}
