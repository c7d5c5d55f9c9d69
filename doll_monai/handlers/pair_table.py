"""A table with rows for each (image, positive observation) whose place is known, written when the run is complete."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from ignite.engine import Engine, Events
from monai.utils import CommonKeys

from doll_monai.data.ground_truth import GroundTruth
from doll_monai.handlers.engine import output_of
from doll_monai.utils.atomic import write_atomic

Row = Mapping[str, Any]


class PairTable(ABC):
    """Base of the handlers that judge maps against known places.

    Args:
        truth: the known places.
        columns: of the table.
        path: CSV file to write.
        target_key: (T,) targets; only positive observations are judged.
    """

    def __init__(
        self, truth: GroundTruth, columns: Sequence[str], path: str | os.PathLike, target_key: str = CommonKeys.LABEL
    ) -> None:
        self.truth = truth
        self.columns = list(columns)
        self.path = Path(path)
        self.target_key = target_key
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
        for image, channel, mask, item in self._pairs(engine):
            self._rows.extend(self.rows(image, channel, mask, item))

    def _pairs(self, engine: Engine) -> Iterator[tuple[str, int, torch.Tensor, Mapping[str, Any]]]:
        for item in output_of(engine):
            path = item[CommonKeys.IMAGE].meta["filename_or_obj"]
            size = tuple(item[CommonKeys.IMAGE].shape[1:])
            for channel, mask in self.truth.masks(path, size).items():
                if item[self.target_key][channel] >= 0.5:
                    yield self.truth.relative(path), channel, mask, item

    def _write(self, _engine: Engine) -> None:
        write_atomic(self.path, pd.DataFrame(self._rows, columns=self.columns).to_csv(index=False).encode())
