"""The best, the median and the worst film of a test, truth and prediction outlined."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from doll_monai.visualize.pictures import LABEL_COLOUR, PICTURE_SIZE, TRUTH_COLOUR, outlines, read_film

KEPT_SIZE = 2 * PICTURE_SIZE


def _unpacked(shape: tuple[int, ...], packed: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Prediction and truth, (T, W, H) bool each."""
    bits = np.unpackbits(np.frombuffer(zlib.decompress(packed), np.uint8), count=int(np.prod(shape)))
    prediction, truth = bits.reshape(shape).astype(bool)
    return prediction, truth


class Overlays:
    """Keeps small masks of films until all are scored, about a kilobyte a film."""

    def __init__(self) -> None:
        self._films: list[tuple[float, Path, tuple[int, ...], bytes]] = []

    def add(self, iou: float, film: Path, prediction: np.ndarray, truth: np.ndarray) -> None:
        """Args: iou: mean over the classes. film: its file. prediction, truth: (T, W, H) bool."""
        step = max(1, max(truth.shape[1:]) // KEPT_SIZE)
        masks = np.stack([prediction, truth])[..., ::step, ::step]
        self._films.append((iou, film, masks.shape, zlib.compress(np.packbits(masks).tobytes(), 1)))

    def chosen(self) -> dict[str, tuple[float, Path, np.ndarray, np.ndarray]]:
        """The best, the median (the lower of two) and the worst film; ties by name."""
        order = sorted(self._films, key=lambda film: (film[0], str(film[1])))
        chosen = {"best": order[-1], "median": order[(len(order) - 1) // 2], "worst": order[0]} if order else {}
        return {name: (iou, film, *_unpacked(shape, packed)) for name, (iou, film, shape, packed) in chosen.items()}

    def picture(self) -> bytes:
        """A PNG with the chosen films side by side: the truth in blue, the prediction dashed in orange."""
        chosen = self.chosen()
        figure = Figure(figsize=(2.6 * max(len(chosen), 1), 2.9), layout="constrained")
        for number, (name, (iou, path, prediction, truth)) in enumerate(chosen.items(), start=1):
            axes = figure.add_subplot(1, len(chosen), number)
            axes.set_axis_off()
            axes.set_title(f"{name}: IoU {iou:.3f}", fontsize=9)
            film = read_film(path)
            if film is not None:
                film = outlines(film, truth.transpose(0, 2, 1), TRUTH_COLOUR)
                axes.imshow(outlines(film, prediction.transpose(0, 2, 1), LABEL_COLOUR, dashed=True))
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
        return buffer.getvalue()
