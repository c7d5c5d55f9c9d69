"""Writing labels, their table and their provenance while an evaluator runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.utils import CommonKeys

from doll_monai.data.label_store import LabelStore
from doll_monai.findings import FINDINGS, FOREGROUND

from .engine import batch_of, output_of


class LabelWriter:
    """Writes one label file an image and one table row an (image, positive observation).

    Works on the engine's decollated, post-processed output. The rows of a chunk are written after its label files,
    and mark the chunk as done; when all chunks are done, the table and ``dataset.json`` are put together.

    Args:
        store: where labels go.
        members: number K of members in the output (``pred_k``, ``completeness_error_k``, ``n_steps_k``).
        label_key: the label, (T, W, H) ``uint8``.
        target_key: (T,) targets.
    """

    def __init__(
        self, store: LabelStore, members: int, label_key: str = CommonKeys.PRED, target_key: str = CommonKeys.LABEL
    ) -> None:
        self.store = store
        self.members = members
        self.label_key = label_key
        self.target_key = target_key

    def attach(self, engine: Engine) -> None:
        """Write after each iteration, finish when the run is complete."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)
        engine.add_event_handler(Events.COMPLETED, self._finish)

    def _start(self, _engine: Engine) -> None:
        self.store.claim()

    def __call__(self, engine: Engine) -> None:
        rows: list[dict[str, Any]] = []
        for item in output_of(engine):
            image = item[CommonKeys.IMAGE]
            path = image.meta["filename_or_obj"]
            self.store.write(path, item[self.label_key], image.affine)
            rows += self._rows(self.store.relative(path), item)
        self.store.write_rows(int(batch_of(engine)[0]["chunk"]), rows)

    def _finish(self, _engine: Engine) -> None:
        self.store.finish()

    def _rows(self, image: str, item: Mapping[str, Any]) -> list[dict[str, Any]]:
        logits = torch.stack([item[f"pred_{member}"] for member in range(self.members)]).mean(0)
        errors = torch.stack([item[f"completeness_error_{member}"] for member in range(self.members)]).mean(0)
        label = item[self.label_key]
        return [
            {
                "image": image,
                "observation": FINDINGS[channel],
                "probability": round(float(torch.sigmoid(logits[channel])), 4),
                "completeness_error": _rounded(float(errors[channel])),
                "n_steps": int(item["n_steps_0"]),
                "foreground_share": round(float((label[channel] == FOREGROUND).float().mean()), 4),
            }
            for channel in range(len(FINDINGS))
            if item[self.target_key][channel] >= 0.5
        ]


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 5)
