"""Overlays show each class in its color, where it is, with its name below."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from PIL import Image

from doll_monai.handlers.overlay_writer import OverlayWriter, draw_overlay
from doll_monai.transforms.reading import LoadRadiographd
from doll_monai.visualize.pictures import LINE, OKABE_ITO


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


def test_an_image_without_regions_stays_bare() -> None:
    image = np.full((10, 12, 3), 7, np.uint8)
    assert np.array_equal(draw_overlay(image, np.zeros((1, 10, 12), bool), ["lungs"]), image)


def test_fourteen_classes_have_colors_of_their_own() -> None:
    masks = np.zeros((14, 60, 60), bool)
    for number in range(14):
        masks[number, 4 * number : 4 * number + 2] = True
    drawn = draw_overlay(np.zeros((60, 60, 3), np.uint8), masks, [str(number) for number in range(14)])
    assert len({tuple(color) for color in drawn[:60].reshape(-1, 3).tolist()}) == 15


@pytest.mark.parametrize("enabled", [True, False])
def test_pictures_stand_in_the_images_own_folders(enabled: bool, tmp_path: Path) -> None:
    path = tmp_path / "images" / "patient" / "image.png"
    path.parent.mkdir(parents=True)
    Image.fromarray(np.arange(200, dtype=np.uint8).reshape(10, 20)).save(path)
    batch = [LoadRadiographd()({"image": str(path)})]

    def step(engine: Engine, _batch: object) -> list[dict]:
        engine.state.batch = batch
        return [{"pred": torch.ones(1, 20, 10)}]

    engine = Engine(step)
    OverlayWriter(tmp_path / "out", tmp_path / "images", ["lungs"], size=40, enabled=enabled).attach(engine)
    engine.run([0])
    written = list((tmp_path / "out").rglob("*.png")) if enabled else []
    assert list(tmp_path.rglob("*_overlay.png")) == written
    if enabled:
        assert written == [tmp_path / "out" / "patient" / "image_overlay.png"]
        with Image.open(written[0]) as picture:
            assert picture.size == (40, 20 + LINE)
