"""The best, the median and the worst image of a test, truth and prediction outlined."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from doll_monai.visualize.pictures import LABEL_COLOR, PICTURE_SIZE, TRUTH_COLOR, outlines, read_image

KEPT_SIZE = 2 * PICTURE_SIZE


def _unpacked(shape: tuple[int, ...], packed: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Prediction and truth, (T, W, H) bool each."""
    bits = np.unpackbits(np.frombuffer(zlib.decompress(packed), np.uint8), count=int(np.prod(shape)))
    prediction, truth = bits.reshape(shape).astype(bool)
    return prediction, truth


class Overlays:
    """Keeps small masks of images until all are scored, about a kilobyte an image."""

    def __init__(self) -> None:
        self._images: list[tuple[float, Path, tuple[int, ...], bytes]] = []

    def add(self, iou: float, image: Path, prediction: np.ndarray, truth: np.ndarray) -> None:
        """Args: iou: mean over the classes. image: its file. prediction, truth: (T, W, H) bool."""
        step = max(1, max(truth.shape[1:]) // KEPT_SIZE)
        masks = np.stack([prediction, truth])[..., ::step, ::step]
        self._images.append((iou, image, masks.shape, zlib.compress(np.packbits(masks).tobytes(), 1)))

    def chosen(self) -> dict[str, tuple[float, Path, np.ndarray, np.ndarray]]:
        """The best, the median (the lower of two) and the worst image; ties by name."""
        order = sorted(self._images, key=lambda image: (image[0], str(image[1])))
        chosen = {"best": order[-1], "median": order[(len(order) - 1) // 2], "worst": order[0]} if order else {}
        return {name: (iou, image, *_unpacked(shape, packed)) for name, (iou, image, shape, packed) in chosen.items()}

    def picture(self) -> bytes:
        """A PNG with the chosen images side by side: the truth in blue, the prediction dashed in orange."""
        chosen = self.chosen()
        figure = Figure(figsize=(2.6 * max(len(chosen), 1), 2.9), layout="constrained")
        for number, (name, (iou, path, prediction, truth)) in enumerate(chosen.items(), start=1):
            axes = figure.add_subplot(1, len(chosen), number)
            axes.set_axis_off()
            axes.set_title(f"{name}: IoU {iou:.3f}", fontsize=9)
            image = read_image(path)
            if image is not None:
                image = outlines(image, truth.transpose(0, 2, 1), TRUTH_COLOR)
                axes.imshow(outlines(image, prediction.transpose(0, 2, 1), LABEL_COLOR, dashed=True))
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
        return buffer.getvalue()
