"""How alike the members' maps are, and how alike they are to those of a committee that has forgotten everything."""

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
from doll_monai.handlers.localization import label_shares
from doll_monai.handlers.pair_table import PairTable, Row
from doll_monai.metrics.maps import brightest, chance_overlap, overlap, rank_correlation, rolled, structural_agreement

MapPair = tuple[np.ndarray, np.ndarray]

LIKENESS = [f"{maps}_{measure}" for maps in ("agreement", "randomized", "unrelated") for measure in ("rank", "ssim")]
LIKENESS += ["randomized_iou", "unrelated_iou"]
"""Columns of the comparisons."""

CONSENSUS = ("consensus", "randomized")
"""Keys of the two means whose foregrounds are compared."""


class MapAgreement(PairTable):
    """Compares processed maps of each (image, positive observation with a known place); writes a table of them.

    One row has ``image``, ``observation``, ``label_share`` (the label's own foreground share), ``completeness_k`` of
    each member, and three comparisons, each with its rank correlation (``*_rank``) and SSIM (``*_ssim``), the mean
    over its pairs of maps:

    - ``agreement``: every two members; empty for a lone member;
    - ``randomized``: each member and itself with parameters drawn anew, the model-randomization sanity check;
    - ``unrelated``: each member and its own map moved elsewhere (``rolled``), what unrelated maps have in common.

    ``randomized_iou`` is the IoU of the consensus' foreground with that of the randomized committee,
    ``unrelated_iou`` the mean over all places where the latter could lie (``chance_overlap``).

    Args:
        truth: the known places; only pairs with one are compared, the same that are scored.
        members: number K of members; the output has ``attribution_k``, ``randomized_k``, (T, W, H) >= 0, and
            ``completeness_error_k``, (T,), and the means ``consensus`` and ``randomized``.
        foreground_share: the label's, one number or by observation.
        path: CSV file to write.
        seed: of the places to which maps are moved.
    """

    def __init__(
        self,
        truth: GroundTruth,
        members: int,
        foreground_share: float | Mapping[str, float],
        path: str | os.PathLike,
        seed: int = 0,
    ) -> None:
        self.members = range(members)
        completeness = [f"completeness_{k}" for k in self.members]
        super().__init__(truth, ["image", "observation", "label_share", *completeness, *LIKENESS], path)
        self.shares = label_shares(foreground_share)
        self.seed = seed

    def rows(self, image: str, channel: int, mask: torch.Tensor, item: Mapping[str, Any]) -> Iterable[Row]:
        """One row; the place itself is of no concern."""
        real = [np.asarray(item[f"attribution_{k}"][channel].cpu()) for k in self.members]
        random = [np.asarray(item[f"randomized_{k}"][channel].cpu()) for k in self.members]
        # of the image and observation alone, so that order and batches do not matter
        generator = np.random.default_rng([self.seed, zlib.crc32(image.encode()), channel])
        moved = [rolled(values, generator) for values in real]
        regions = [brightest(np.asarray(item[key][channel].cpu()), self.shares[channel]) for key in CONSENSUS]
        row: dict[str, float] = {"label_share": self.shares[channel]}
        row |= {f"completeness_{k}": float(item[f"completeness_error_{k}"][channel]) for k in self.members}
        row |= _alike("agreement", combinations(real, 2))
        row |= _alike("randomized", zip(real, random, strict=True))
        row |= _alike("unrelated", zip(real, moved, strict=True))
        row["randomized_iou"] = overlap(*regions)
        row["unrelated_iou"] = chance_overlap(regions[1], regions[0])
        figures = {name: round(value, 5) for name, value in row.items()}
        return [{"image": image, "observation": FINDINGS[channel], **figures}]


def _alike(name: str, pairs: Iterable[MapPair]) -> dict[str, float]:
    pairs = list(pairs)
    measures = {"rank": rank_correlation, "ssim": structural_agreement}
    return {
        f"{name}_{measure}": float(np.mean([alike(*pair) for pair in pairs])) if pairs else float("nan")
        for measure, alike in measures.items()
    }
