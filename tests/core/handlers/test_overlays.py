"""Overlays show each class in its color, where it is; the sheet of an evaluation the images that it says."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import MetaTensor
from PIL import Image

from doll_monai.handlers.overlays import OverlaySheet, OverlayWriter, mean_iou
from doll_monai.transforms.reading import LoadRadiographd
from doll_monai.visualize.pictures import LABEL_COLOR, LINE, OKABE_ITO, TRUTH_COLOR, class_colors, draw_overlay


def _region(*columns: slice | None) -> np.ndarray:
    """A label (T, 8, 8) with these columns in each channel."""
    mask = np.zeros((len(columns), 8, 8), dtype=np.uint8)
    for channel, part in enumerate(columns):
        if part is not None:
            mask[channel, part] = 1
    return mask


GOOD, NONE = _region(slice(2, 6)), _region(None)


def test_iou_is_the_mean_over_channels_without_ignored_pixels() -> None:
    label = _region(slice(0, 4), None)
    assert mean_iou(label == 1, label) == 1.0
    assert mean_iou(_region(slice(0, 2), None) == 1, label) == pytest.approx((0.5 + 1) / 2)
    assert mean_iou(_region(slice(0, 4), slice(0, 1)) == 1, label) == pytest.approx((1 + 0) / 2)
    label[0, 4:] = 255
    assert mean_iou(_region(slice(0, 8), None) == 1, label) == 1.0


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for number, path in enumerate(paths):
        Image.new("L", (80, 80), 40 * number).save(path)
    return paths


def _evaluate(handler: OverlaySheet, images: list[Path], pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:
    batch = [{"image": MetaTensor(torch.zeros(1, 8, 8), meta={"filename_or_obj": str(image)})} for image in images]
    output = [{"pred": torch.tensor(prediction), "label": torch.tensor(label)} for prediction, label in pairs]
    engine = Engine(lambda _engine, _batch: output)
    handler.attach(engine)
    engine.run([batch])


def test_best_median_and_worst_of_the_last_run_are_drawn(images: list[Path], tmp_path: Path) -> None:
    handler = OverlaySheet(tmp_path / "sheet.png")
    _evaluate(handler, images, [(NONE, GOOD)] * 3)
    _evaluate(handler, images, [(GOOD, GOOD), (NONE, GOOD), (_region(slice(2, 3)), GOOD)])
    chosen = handler.chosen()
    assert [chosen[name][1] for name in ("best", "median", "worst")] == [images[0], images[2], images[1]]
    drawn = np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB")).astype(int)
    for color in (TRUTH_COLOR, LABEL_COLOR):
        assert (np.abs(drawn - color).max(-1) < 12).any()


def test_channels_without_label_may_be_left_out(images: list[Path], tmp_path: Path) -> None:
    handler = OverlaySheet(tmp_path / "sheet.png", only_labeled=True)
    label, everywhere = _region(slice(0, 4), None), _region(slice(0, 4), slice(0, 8))
    _evaluate(handler, images[:2], [(everywhere, label), (everywhere, _region(None, None))])
    chosen = handler.chosen()
    assert {image[1] for image in chosen.values()} == {images[0]}
    assert chosen["best"][0] == 1.0
    assert chosen["best"][2].shape == (1, 8, 8)


def test_each_class_is_outlined_in_its_color_and_named_below() -> None:
    masks = np.zeros((3, 20, 30), bool)
    masks[0, 2:8, 2:8] = masks[2, 10:18, 15:25] = True
    drawn = draw_overlay(np.zeros((40, 60, 3), np.uint8), masks, ["lungs", "heart", "clavicles"])
    assert drawn.shape == (40 + 2 * LINE, 60, 3)
    colors = {tuple(color) for color in drawn[:40].reshape(-1, 3).tolist()}
    assert colors == {(0, 0, 0), OKABE_ITO[0], OKABE_ITO[2]}
    rows, columns = np.nonzero((drawn[:40] == OKABE_ITO[0]).all(-1))
    assert (rows.min(), rows.max()) == pytest.approx((4, 15), abs=1)
    assert (columns.min(), columns.max()) == pytest.approx((4, 15), abs=1)
    legend = drawn[40 + LINE :].reshape(-1, 3).astype(int)
    assert (np.abs(legend - OKABE_ITO[2]).max(-1) < 60).any()


def test_fourteen_classes_have_colors_of_their_own() -> None:
    assert len({*class_colors(14)} | {(0, 0, 0)}) == 15


def test_pictures_stand_in_the_images_own_folders(tmp_path: Path) -> None:
    path = tmp_path / "images" / "patient" / "image.png"
    path.parent.mkdir(parents=True)
    Image.fromarray(np.arange(200, dtype=np.uint8).reshape(10, 20)).save(path)
    engine = Engine(lambda _engine, _batch: [{"pred": torch.ones(1, 20, 10)}])
    OverlayWriter(tmp_path / "out", tmp_path / "images", ["lungs"], size=40).attach(engine)
    engine.data_loader = SimpleNamespace(dataset=SimpleNamespace(data=[{"image": str(path)}]))
    engine.run([[LoadRadiographd()({"image": str(path)})]])
    with Image.open(tmp_path / "out" / "patient" / "image_overlay.png") as picture:
        assert picture.size == (40, 20 + LINE)
