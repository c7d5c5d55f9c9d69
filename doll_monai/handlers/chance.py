"""What a region that knows nothing would score: the floor under every source."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from doll_monai.data.ground_truth import GroundTruth
from doll_monai.findings import FINDINGS
from doll_monai.handlers.localization import COLUMNS
from doll_monai.handlers.pair_table import PairTable, Row
from doll_monai.metrics.maps import brightest, chance_overlap


class ChanceScorer(PairTable):
    """Scores the regions of a map at all places of the image; writes rows like those of ``LocalizationScorer``.

    The region has the shape and size of the map's brightest ``share``, its place is random: ``iou`` is the mean over
    all shifts (``chance_overlap``), ``hit`` the share of the image that is truth. The source is called ``chance``.

    Args:
        truth: the known places.
        shares: shares of the image's pixels to take as foreground.
        path: CSV file to write.
        key: the map, (T, W, H) >= 0.
    """

    def __init__(
        self, truth: GroundTruth, shares: Sequence[float], path: str | os.PathLike, key: str = "consensus"
    ) -> None:
        super().__init__(truth, COLUMNS, path)
        self.shares = list(shares)
        self.key = key

    def rows(self, image: str, channel: int, mask: torch.Tensor, item: Mapping[str, Any]) -> Iterable[Row]:
        """A row for each share."""
        values, place = np.asarray(item[self.key][channel].cpu()), mask.numpy()
        known = round(float(place.mean()), 5)
        for share in self.shares:
            iou = round(chance_overlap(brightest(values, share), place), 5)
            row = (image, FINDINGS[channel], "chance", share, iou, known, known)
            yield dict(zip(COLUMNS, row, strict=True))
