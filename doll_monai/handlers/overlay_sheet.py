"""One picture of an evaluation: the best, the median and the worst image."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from ignite.engine import Engine, Events
from monai.utils import CommonKeys

from doll_monai.findings import FOREGROUND, IGNORE
from doll_monai.handlers.engine import batch_of, output_of
from doll_monai.utils.atomic import write_atomic
from doll_monai.visualize.overlays import Overlays


class OverlaySheet:
    """Writes the best, the median and the worst image by mean IoU, the truth in blue, the prediction dashed in orange.

    Args:
        path: PNG file to write when the run is complete.
        only_labeled: leave out the channels whose label has no foreground in an image; images without any are left out.
    """

    def __init__(self, path: str | os.PathLike, only_labeled: bool = False) -> None:
        self.path = path
        self.only_labeled = only_labeled
        self._overlays = Overlays()

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator with decollated, post-processed output: ``pred`` and ``label``, (T, W, H) each."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def __call__(self, engine: Engine) -> None:
        for image, item in zip(batch_of(engine), output_of(engine), strict=True):
            prediction, label = (np.asarray(item[key].cpu()) for key in (CommonKeys.PRED, CommonKeys.LABEL))
            kept = (label == FOREGROUND).any((1, 2)) | (not self.only_labeled)
            if kept.any():
                path = Path(image[CommonKeys.IMAGE].meta["filename_or_obj"])
                prediction, label = prediction[kept] > 0.5, label[kept]
                self._overlays.add(mean_iou(prediction, label), path, prediction, label == FOREGROUND)

    def _start(self, _engine: Engine) -> None:
        self._overlays = Overlays()

    def _write(self, _engine: Engine) -> None:
        write_atomic(self.path, self._overlays.picture())


def mean_iou(prediction: np.ndarray, label: np.ndarray) -> float:
    """Mean over the channels of the intersection over union, ignored pixels left out; two empty regions agree.

    Args:
        prediction: (T, W, H) bool.
        label: (T, W, H), 0, 1 and 255 where ignored.
    """
    truth, known = label == FOREGROUND, label != IGNORE
    both = (prediction & truth).sum((1, 2))
    either = ((prediction | truth) & known).sum((1, 2))
    return float(np.where(either > 0, both / np.maximum(either, 1), 1.0).mean())
