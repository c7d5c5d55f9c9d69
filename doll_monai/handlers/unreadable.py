"""Images that could not be read, while an evaluator runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from monai.utils import CommonKeys

from doll_monai.data.image_dataset import report_failures
from doll_monai.handlers.engine import batch_of, output_of


class UnreadableImages:
    """Takes images with an ``error``, see ``ImageDataset``, out of batch and output, and reports them at the end.

    Attach it before the handlers that write. Batch and output must be decollated. ``output_dir`` gets ``failures.csv``.

    Raises:
        InputError: at the end, when not one image could be read.
    """

    def __init__(self, output_dir: str | os.PathLike) -> None:
        self.output_dir = Path(output_dir)
        self._failures: dict[str, str] = {}
        self._count = 0

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self.clear)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.report)

    def clear(self) -> None:
        self._failures, self._count = {}, 0

    def __call__(self, engine: Engine) -> None:
        batch, output = batch_of(engine), output_of(engine)
        self._count += len(batch)
        for record in batch:
            if record["error"]:
                self._failures[record[CommonKeys.IMAGE].meta["filename_or_obj"]] = record["error"]
        state: Any = engine.state
        state.output = [item for record, item in zip(batch, output, strict=True) if not record["error"]]
        state.batch = [record for record in batch if not record["error"]]

    def report(self) -> None:
        """Write ``failures.csv`` and say how many there are."""
        report_failures(self.output_dir, self._failures, self._count)
