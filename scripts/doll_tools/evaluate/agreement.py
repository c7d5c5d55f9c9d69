"""How alike the members' maps are, and how alike they are to those of randomized networks."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import Any

import numpy as np
import torch

from doll_monai.data.ground_truth import GroundTruth
from doll_monai.findings import FINDINGS
from doll_monai.handlers.localization import PairTable, Row, label_shares
from doll_monai.metrics.localization import brightest, chance_iou, iou, rank_correlation

LIKENESS = ["agreement_rank", "randomized_rank", "unrelated_rank", "randomized_iou", "unrelated_iou"]
"""Columns of the comparisons."""


class MapAgreement(PairTable):
    """Compares the maps of each (image, positive observation) with ground truth; writes a table of them.

    One row has ``image``, ``observation``, ``label_share`` (the label's own foreground share), ``completeness_k`` of
    each member, and three comparisons, each with its rank correlation (``*_rank``), the mean over its pairs of
    maps:

    - ``agreement``: every two members; empty for a lone member;
    - ``randomized``: each member and itself with parameters drawn anew;
    - ``unrelated``: each member and its own map moved elsewhere (``rolled``), the likeness of unrelated maps.

    ``randomized_iou`` is the IoU of the consensus' foreground with that of the randomized committee,
    ``unrelated_iou`` the same with the latter at a random place (``chance_iou``).

    Args:
        members: number K of members; the output has ``attribution_k``, ``randomized_k``, (T, W, H) >= 0, and
            perhaps ``completeness_error_k``, (T,), and the means ``consensus`` and ``randomized``.
        foreground_share: the label's, one number or by observation.
        seed: of the shifts of ``rolled``.
    """

    def __init__(
        self,
        ground_truth: GroundTruth,
        members: int,
        foreground_share: float | Mapping[str, float],
        path: str | os.PathLike,
        seed: int = 0,
    ) -> None:
        self.members = range(members)
        completeness = [f"completeness_{k}" for k in self.members]
        super().__init__(ground_truth, ["image", "observation", "label_share", *completeness, *LIKENESS], path)
        self.shares = label_shares(foreground_share)
        self.seed = seed

    def rows(self, image: str, channel: int, mask: torch.Tensor, item: Mapping[str, Any]) -> Iterable[Row]:
        """One row; the ground truth itself does not matter."""

        def maps_of(*names: str) -> list[np.ndarray]:
            return [np.asarray(item[name][channel].cpu()) for name in names]

        # of the image and observation alone, so that order and batches do not matter
        generator = np.random.default_rng([self.seed, zlib.crc32(image.encode()), channel])
        real, random = (maps_of(*(f"{name}_{k}" for k in self.members)) for name in ("attribution", "randomized"))
        compared = {
            "agreement": list(combinations(real, 2)),
            "randomized": list(zip(real, random, strict=True)),
            "unrelated": [(values, rolled(values, generator)) for values in real],
        }
        unknown = torch.full((len(FINDINGS),), float("nan"))
        errors = (item.get(f"completeness_error_{k}", unknown)[channel] for k in self.members)
        row = {"label_share": self.shares[channel], **{f"completeness_{k}": float(e) for k, e in enumerate(errors)}}
        for name, pairs in compared.items():
            alike = [rank_correlation(*pair) for pair in pairs]
            row[f"{name}_rank"] = float(np.mean(alike)) if alike else float("nan")
        label, other = (brightest(values, self.shares[channel]) for values in maps_of("consensus", "randomized"))
        row |= {"randomized_iou": iou(label, other), "unrelated_iou": chance_iou(other, label)}
        return [{"image": image, "observation": FINDINGS[channel], **{name: round(v, 5) for name, v in row.items()}}]


def rolled(values: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The map moved by at least a quarter of its size along both axes, wrapped around: as smooth, and unrelated."""
    shifts = [int(generator.integers(size // 4, size - size // 4 + 1)) for size in values.shape]
    return np.roll(values, shifts, axis=(0, 1))
