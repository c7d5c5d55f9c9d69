"""What a region that knows nothing would score: the floor under every source."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from ignite.engine import Engine, Events

from doll_monai.data.datalist import write_whole
from doll_monai.data.truth import Truth
from doll_monai.findings import FINDINGS
from doll_monai.metrics.maps import brightest, chance_overlap

from .localisation import COLUMNS, scored_pairs


class ChanceScorer:
    """Scores the regions of a map at all places of the film; writes rows like those of ``LocalisationScorer``.

    The region has the shape and size of the map's brightest ``share``, its place is random: ``iou`` is the mean over
    all shifts (``chance_overlap``), ``hit`` the share of the film that is truth. The source is called ``chance``.

    Args:
        truth: the known places.
        shares: shares of the image's pixels to take as foreground.
        path: CSV file to write.
        key: the map, (T, W, H) >= 0.
    """

    def __init__(self, truth: Truth, shares: Sequence[float], path: str | os.PathLike, key: str = "consensus") -> None:
        self.truth = truth
        self.shares = list(shares)
        self.path = Path(path)
        self.key = key
        self._rows: list[dict[str, Any]] = []

    def attach(self, engine: Engine) -> None:
        """Score after each iteration, write when the run is complete."""
        engine.add_event_handler(Events.STARTED, self._rows.clear)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def __call__(self, engine: Engine) -> None:
        for image, channel, mask, item in scored_pairs(engine, self.truth):
            self._score(image, channel, mask.numpy(), item)

    def _score(self, image: str, channel: int, mask: np.ndarray, item: Mapping[str, Any]) -> None:
        values = np.asarray(item[self.key][channel].cpu())
        known = round(float(mask.mean()), 5)
        for share in self.shares:
            iou = round(chance_overlap(brightest(values, share), mask), 5)
            row = (image, FINDINGS[channel], "chance", share, iou, known, known)
            self._rows.append(dict(zip(COLUMNS, row, strict=True)))

    def _write(self, _engine: Engine) -> None:
        write_whole(self.path, pd.DataFrame(self._rows, columns=list(COLUMNS)).to_csv(index=False).encode())
