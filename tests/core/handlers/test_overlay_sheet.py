"""The sheet of an evaluation shows the images that it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import MetaTensor
from PIL import Image

from doll_monai.handlers.overlay_sheet import OverlaySheet, mean_iou
from doll_monai.visualize.pictures import LABEL_COLOR, TRUTH_COLOR


def _region(*columns: slice | None) -> np.ndarray:
    """A label (T, 8, 8) with these columns in each channel."""
    mask = np.zeros((len(columns), 8, 8), dtype=np.uint8)
    for channel, part in enumerate(columns):
        if part is not None:
            mask[channel, part] = 1
    return mask


def test_iou_is_the_mean_over_channels_without_ignored_pixels() -> None:
    label = _region(slice(0, 4), None)
    assert mean_iou(label == 1, label) == 1.0
    assert mean_iou(_region(slice(0, 2), None) == 1, label) == pytest.approx((0.5 + 1) / 2)
    assert mean_iou(_region(slice(0, 4), slice(0, 1)) == 1, label) == pytest.approx((1 + 0) / 2)
    label[0, 4:] = 255
    assert mean_iou(_region(slice(0, 8), None) == 1, label) == 1.0


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    for number in range(3):
        Image.new("L", (80, 80), 40 * number).save(tmp_path / f"{number}.png")
    return [tmp_path / f"{number}.png" for number in range(3)]


def _evaluate(handler: OverlaySheet, images: list[Path], pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:
    batch = [{"image": MetaTensor(torch.zeros(1, 8, 8), meta={"filename_or_obj": str(image)})} for image in images]
    output = [{"pred": torch.tensor(prediction), "label": torch.tensor(label)} for prediction, label in pairs]
    engine = Engine(lambda _engine, _batch: output)
    handler.attach(engine)
    engine.run([batch])


def _has(picture: Path, color: tuple[int, int, int]) -> bool:
    return bool((np.abs(np.asarray(Image.open(picture).convert("RGB")).astype(int) - color).max(-1) < 12).any())


def test_truth_and_prediction_are_drawn(images: list[Path], tmp_path: Path) -> None:
    handler = OverlaySheet(tmp_path / "sheet.png")
    good, poor, none = _region(slice(2, 6)), _region(slice(2, 3)), _region(None)
    _evaluate(handler, images, [(good, good), (none, good), (poor, good)])
    chosen = handler.chosen()
    assert [chosen[name][1] for name in ("best", "median", "worst")] == [images[0], images[2], images[1]]
    assert _has(tmp_path / "sheet.png", TRUTH_COLOR)
    assert _has(tmp_path / "sheet.png", LABEL_COLOR)


def test_channels_without_label_may_be_left_out(images: list[Path], tmp_path: Path) -> None:
    handler = OverlaySheet(tmp_path / "sheet.png", only_labeled=True)
    label, everywhere = _region(slice(0, 4), None), _region(slice(0, 4), slice(0, 8))
    _evaluate(handler, images[:2], [(everywhere, label), (everywhere, _region(None, None))])
    chosen = handler.chosen()
    assert {image[1] for image in chosen.values()} == {images[0]}
    assert chosen["best"][0] == 1.0
    assert chosen["best"][2].shape == (1, 8, 8)


def test_a_second_run_starts_anew(images: list[Path], tmp_path: Path) -> None:
    handler = OverlaySheet(tmp_path / "sheet.png")
    good, none = _region(slice(2, 6)), _region(None)
    _evaluate(handler, images, [(good, good)] * 3)
    _evaluate(handler, images, [(none, good)] * 3)
    assert [chosen[0] for chosen in handler.chosen().values()] == [0.0] * 3


def test_images_that_cannot_be_read_leave_their_place_black(tmp_path: Path) -> None:
    handler = OverlaySheet(tmp_path / "sheet.png")
    _evaluate(handler, [tmp_path / "missing.png"], [(_region(None), _region(None))])
    with Image.open(tmp_path / "sheet.png") as picture:
        assert min(picture.size) >= 240
