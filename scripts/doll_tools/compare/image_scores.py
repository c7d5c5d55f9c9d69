"""Scores of every image and class, in the image's own size, while a bundle evaluates."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from ignite.engine import Engine, Events
from monai.metrics import compute_dice, compute_hausdorff_distance, compute_iou
from monai.utils import CommonKeys

from doll_monai.data.datalist import load_datalist
from doll_monai.handlers.engine import batch_of, output_of
from doll_monai.handlers.overlays import OverlaySheet
from doll_monai.utils.atomic import write_atomic
from doll_monai.utils.errors import explained

VALID, TEST, ELSEWHERE = "valid", "test", "elsewhere"
"""Images to choose on, to report on, and from another data set."""
METRICS = ("dice", "iou", "hd95")
COLUMNS = ["split", "image", "patient", "class", *METRICS]
FILE = "images.csv"


@explained
def scored_images(
    datalist: str, dataset_dir: str, label_dir: str, elsewhere: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """A task's ``validation`` and ``test`` images with full paths, and with ``split``.

    Args:
        datalist, dataset_dir, label_dir: of the task.
        elsewhere: the same of another data set, whose ``test`` images are added.
    """
    parts = {VALID: load_datalist(datalist, "validation", dataset_dir, label_dir)}
    parts[TEST] = load_datalist(datalist, "test", dataset_dir, label_dir)
    if elsewhere:
        folders = elsewhere["dataset_dir"], elsewhere["label_dir"]
        parts[ELSEWHERE] = load_datalist(elsewhere["datalist"], "test", *folders)
    return [{**record, "split": split} for split, records in parts.items() for record in records]


def class_scores(prediction: torch.Tensor, truth: torch.Tensor) -> dict[str, float]:
    """Scores of one class in one image.

    Args:
        prediction, truth: (W, H), 0 and 1.

    Returns:
        ``dice`` and ``iou``: of an empty truth 1 when the prediction is empty too, else 0. ``hd95``: the 95th
        percentile of the Hausdorff distance as a share of the image's width; 0 when both are empty, 1 when one is.
    """
    pair = (prediction > 0.5).float()[None, None], (truth > 0.5).float()[None, None]
    empty = [not bool(mask.any()) for mask in pair]
    distance = 0.0 if all(empty) else 1.0
    if not any(empty):
        pixels = float(compute_hausdorff_distance(*pair, include_background=True, percentile=95))
        distance = pixels / truth.shape[0]
    dice, iou = (float(score(*pair, ignore_empty=False)) for score in (compute_dice, compute_iou))
    return {"dice": dice, "iou": iou, "hd95": distance}


class ImageScores:
    """Writes ``images.csv`` and the pictures of the best, the median and the worst test image.

    Works on the engine's decollated, post-processed output, and on ``name``, ``patient`` and ``split`` of its batch.

    Args:
        classes: name of each channel of the prediction.
        elsewhere: its ``classes`` are those that the images from elsewhere have labels of, in the labels' order.
        output_dir: folder for the files.
    """

    def __init__(
        self, classes: Sequence[str], elsewhere: Mapping[str, Any] | None, output_dir: str | os.PathLike
    ) -> None:
        self.classes = list(classes)
        self.elsewhere = list((elsewhere or {}).get("classes", ()))
        self.path = Path(output_dir) / FILE
        self.overlays = OverlaySheet(Path(output_dir) / "overlays.png")
        self._rows: list[dict[str, Any]] = []

    def attach(self, engine: Engine) -> None:
        """Score after each iteration, write when the run is complete."""
        for clear in (self._rows.clear, self.overlays.clear):
            engine.add_event_handler(Events.STARTED, clear)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)
        for write in (self.overlays.write, self._write):
            engine.add_event_handler(Events.COMPLETED, write)

    def __call__(self, engine: Engine) -> None:
        for record, item in zip(batch_of(engine), output_of(engine), strict=True):
            classes = self.elsewhere if record["split"] == ELSEWHERE else self.classes
            channels = [self.classes.index(name) for name in classes]
            prediction, truth = item[CommonKeys.PRED][channels].cpu(), item[CommonKeys.LABEL].cpu()
            image = {"split": record["split"], "image": record["name"], "patient": record["patient"]}
            for name, *masks in zip(classes, prediction, truth, strict=True):
                self._rows.append({**image, "class": name, **class_scores(*masks)})
            if record["split"] == TEST:
                path = item[CommonKeys.IMAGE].meta["filename_or_obj"]
                self.overlays.add(path, prediction.numpy() > 0.5, truth.numpy() > 0.5)

    def _write(self) -> None:
        write_atomic(self.path, pd.DataFrame(self._rows, columns=COLUMNS).to_csv(index=False).encode())
