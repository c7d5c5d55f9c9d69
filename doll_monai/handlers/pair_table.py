"""A table with rows for each (image, positive observation) that has ground truth."""

from __future__ import annotations

import csv
import io
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.utils import CommonKeys

from doll_monai.data.ground_truth import GroundTruth
from doll_monai.handlers.engine import output_of
from doll_monai.utils.atomic import write_atomic

Row = Mapping[str, Any]


def write_rows(path: str | os.PathLike[str], columns: Sequence[str], rows: Iterable[Row]) -> None:
    """Write a CSV file in one step; what is no number is blank."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(
            {name: "" if isinstance(cell, float) and math.isnan(cell) else cell for name, cell in row.items()}
        )
    write_atomic(path, buffer.getvalue().encode())


class PairTable(ABC):
    """Base of the handlers that compare maps with ground truth; writes the table when the run is complete.

    Works on the engine's decollated, post-processed output; positive observations of its targets ``label`` are judged.

    Args:
        ground_truth: masks or boxes.
        columns: of the table.
        path: CSV file to write.
    """

    def __init__(self, ground_truth: GroundTruth, columns: Sequence[str], path: str | os.PathLike) -> None:
        self.ground_truth = ground_truth
        self.columns = list(columns)
        self.path = Path(path)
        self._rows: list[Row] = []

    @abstractmethod
    def rows(self, image: str, channel: int, mask: torch.Tensor, item: Mapping[str, Any]) -> Iterable[Row]:
        """The rows of a pair.

        Args:
            image: the image's path below ``dataset_dir``.
            channel: of the observation.
            mask: (W, H) bool, where the finding is.
            item: the image's post-processed output.
        """

    def attach(self, engine: Engine) -> None:
        """Judge after each iteration, write when the run is complete."""
        engine.add_event_handler(Events.STARTED, self._rows.clear)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def __call__(self, engine: Engine) -> None:
        for item in output_of(engine):
            path = item[CommonKeys.IMAGE].meta["filename_or_obj"]
            for channel, mask in self.ground_truth.masks(path, tuple(item[CommonKeys.IMAGE].shape[1:])).items():
                if item[CommonKeys.LABEL][channel] >= 0.5:
                    self._rows.extend(self.rows(self.ground_truth.relative(path), channel, mask, item))

    def _write(self, _engine: Engine) -> None:
        write_rows(self.path, self.columns, self._rows)
