"""One picture of an evaluation: the best, the median and the worst image."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import numpy as np
from ignite.engine import Engine, Events
from monai.utils import CommonKeys

from doll_monai.findings import FOREGROUND, IGNORE
from doll_monai.handlers.engine import batch_of, output_of
from doll_monai.transforms.pictures import read_image
from doll_monai.utils.atomic import write_atomic
from doll_monai.visualize.pictures import PICTURE_SIZE, captioned, compared, encoded, side_by_side

WHITE = (255, 255, 255)


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
        """Keep the masks of an image, small and packed to about a kilobyte, until all are scored.

        Args:
            image: its file.
            prediction: (T, W, H) bool.
            label: (T, W, H), 0, 1 and 255 where ignored.
        """
        step = max(1, max(label.shape[1:]) // (2 * PICTURE_SIZE))
        masks = np.stack([prediction, label == FOREGROUND])[..., ::step, ::step]
        packed = zlib.compress(np.packbits(masks).tobytes(), 1)
        self._images.append((mean_iou(prediction, label), Path(image), masks.shape, packed))

    def chosen(self) -> dict[str, tuple[float, Path, np.ndarray, np.ndarray]]:
        """The best, the median (the lower of two) and the worst: IoU, image, prediction, ground truth; ties by name."""
        order = sorted(self._images, key=lambda image: (image[0], str(image[1])))
        chosen = {"best": order[-1], "median": order[(len(order) - 1) // 2], "worst": order[0]} if order else {}
        result = {}
        for name, (iou, image, shape, packed) in chosen.items():
            bits = np.unpackbits(np.frombuffer(zlib.decompress(packed), np.uint8), count=int(np.prod(shape)))
            result[name] = iou, image, *bits.reshape(shape).astype(bool)
        return result

    def clear(self) -> None:
        """Forget all images."""
        self._images.clear()

    def write(self) -> None:
        """Write the picture; black without images."""
        panels = [np.zeros((PICTURE_SIZE, PICTURE_SIZE, 3), np.uint8)]
        for number, (name, (iou, path, prediction, truth)) in enumerate(self.chosen().items()):
            image = read_image(path)
            picture = panels[0] if image is None else compared(image, truth, prediction)
            panels[number:] = [captioned(picture, [(f"{name}: IoU {iou:.3f}", WHITE)])]
        write_atomic(self.path, encoded(side_by_side(panels)))


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
