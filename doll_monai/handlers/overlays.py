"""Pictures of predictions: one beside each image, and a sheet of the best, the median and the worst."""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.metrics import compute_iou
from monai.utils import CommonKeys

from doll_monai.data.image_files import output_path
from doll_monai.findings import FOREGROUND, IGNORE
from doll_monai.handlers.engine import batch_of, check_output, output_of
from doll_monai.transforms.reading import read_picture
from doll_monai.utils.atomic import write_atomic
from doll_monai.visualize.pictures import PICTURE_SIZE, captioned, compared, draw_overlay, encode_picture, side_by_side


class OverlayWriter:
    """Writes ``IMAGE_overlay.png`` for each image: the regions of each class outlined in its color, with a legend.

    Args:
        output_dir: folder, in which the images' own folders are repeated.
        data_root_dir: folder of the images.
        classes: names of the channels of ``pred``, which is 0 and 1 in the image's own geometry.
    """

    def __init__(
        self, output_dir: str | os.PathLike, data_root_dir: str | os.PathLike, classes: Sequence[str], size: int = 768
    ) -> None:
        self.output_dir, self.data_root_dir = output_dir, data_root_dir
        self.classes, self.size = list(classes), size

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator whose post-processing brings predictions back to the images' geometry."""
        engine.add_event_handler(Events.STARTED, check_output, self.data_root_dir, self.output_dir)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        for image, result in zip(batch_of(engine), output_of(engine), strict=True):
            path = image[CommonKeys.IMAGE].meta["filename_or_obj"]
            picture = read_picture(path, self.size)
            if picture is not None:
                masks = np.asarray(result[CommonKeys.PRED].cpu()).transpose(0, 2, 1) > 0.5
                file = output_path(path, self.data_root_dir, self.output_dir, "_overlay.png")
                write_atomic(file, encode_picture(draw_overlay(picture, masks, self.classes)))


class OverlaySheet:
    """Writes the best, the median and the worst image by mean IoU, ground truth in blue, prediction dashed in orange.

    Args:
        path: PNG file to write when the run is complete.
        only_labeled: leave out the channels whose label has no foreground in an image; images without any are left out.
    """

    def __init__(self, path: str | os.PathLike, only_labeled: bool = False) -> None:
        self.path = path
        self.only_labeled = only_labeled
        self._images: list[tuple[float, Path, tuple[int, ...], bytes]] = []

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator with decollated, post-processed output: ``pred`` and ``label``, (T, W, H) each."""
        engine.add_event_handler(Events.STARTED, self.clear)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)
        engine.add_event_handler(Events.COMPLETED, self.write)

    def __call__(self, engine: Engine) -> None:
        for image, item in zip(batch_of(engine), output_of(engine), strict=True):
            prediction, label = (np.asarray(item[key].cpu()) for key in (CommonKeys.PRED, CommonKeys.LABEL))
            kept = (label == FOREGROUND).any((1, 2)) | (not self.only_labeled)
            if kept.any():
                self.add(image[CommonKeys.IMAGE].meta["filename_or_obj"], prediction[kept] > 0.5, label[kept])

    def add(self, image: str, prediction: np.ndarray, label: np.ndarray) -> None:
        """Keep the masks of an image file, (T, W, H), small and packed, until all are scored."""
        step = max(1, max(label.shape[1:]) // (2 * PICTURE_SIZE))
        masks = np.stack([prediction, label == FOREGROUND])[..., ::step, ::step]
        packed = zlib.compress(masks.tobytes(), 1)
        self._images.append((mean_iou(prediction, label), Path(image), masks.shape, packed))

    def chosen(self) -> dict[str, tuple[float, Path, np.ndarray, np.ndarray]]:
        """The best, the median (the lower of two) and the worst: IoU, image, prediction, ground truth; ties by name."""
        order = sorted(self._images, key=lambda image: (image[0], str(image[1])))
        chosen = {"best": order[-1], "median": order[(len(order) - 1) // 2], "worst": order[0]} if order else {}
        result = {}
        for name, (iou, image, shape, packed) in chosen.items():
            prediction, truth = np.frombuffer(zlib.decompress(packed), bool).reshape(shape)
            result[name] = (iou, image, prediction, truth)
        return result

    def clear(self) -> None:
        self._images.clear()

    def write(self) -> None:
        """Write the picture; black without images."""
        black, panels = np.zeros((PICTURE_SIZE, PICTURE_SIZE, 3), np.uint8), []
        for name, (iou, path, prediction, truth) in self.chosen().items():
            image = read_picture(path)
            picture = black if image is None else compared(image, truth, prediction)
            panels.append(captioned(picture, [(f"{name}: IoU {iou:.3f}", (255, 255, 255))]))
        write_atomic(self.path, encode_picture(side_by_side(panels or [black])))


def mean_iou(prediction: np.ndarray, label: np.ndarray) -> float:
    """Mean IoU over the channels, without ignored pixels; two empty regions agree. Both (T, W, H), prediction bool."""
    known = torch.as_tensor(prediction & (label != IGNORE))[None]
    return float(compute_iou(known, torch.as_tensor(label == FOREGROUND)[None], ignore_empty=False).mean())
