"""Scores of an image, with and without an empty mask, and the table of all images."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch
from ignite.engine import Engine
from monai.data import MetaTensor

from doll_tools.compare.image_scores import FILE, ImageScores, class_scores


def _mask(columns: slice | None) -> torch.Tensor:
    mask = torch.zeros(30, 40)
    if columns is not None:
        mask[10:20, columns] = 1
    return mask


@pytest.mark.parametrize(
    ("prediction", "truth", "expected"),
    [
        (slice(10, 20), slice(10, 20), (1, 1, 0)),
        (slice(10, 20), slice(15, 25), (1 / 2, 1 / 3, 5 / 30)),
        (slice(0, 10), slice(20, 30), (0, 0, 20 / 30)),
        (None, None, (1, 1, 0)),
        (slice(10, 20), None, (0, 0, 1)),
        (None, slice(10, 20), (0, 0, 1)),
    ],
)
def test_scores_are_those_worked_by_hand(
    prediction: slice | None, truth: slice | None, expected: tuple[float, float, float]
) -> None:
    scores = class_scores(_mask(prediction), _mask(truth))
    assert tuple(scores.values()) == pytest.approx(expected)
    assert list(scores) == ["dice", "iou", "hd95"]


def test_table_has_each_class_and_the_sheet_only_test_images(tmp_path: Path) -> None:
    """The images from elsewhere have labels of the heart alone; lungs are not scored there."""
    masks = torch.stack([_mask(slice(10, 20)), _mask(slice(20, 30))])
    meta = {"filename_or_obj": str(tmp_path / "missing.png")}
    batch = [{"name": split, "patient": "p", "split": split} for split in ("valid", "test", "elsewhere")]
    image = MetaTensor(torch.zeros(1, 30, 40), meta=meta)
    output = [{"image": image, "pred": masks, "label": masks if n < 2 else masks[1:]} for n in range(3)]
    engine = Engine(lambda _engine, _batch: output)
    handler = ImageScores(["lungs", "heart"], {"classes": ["heart"]}, tmp_path)
    handler.attach(engine)
    for _ in range(2):
        engine.run([batch])
    table = pd.read_csv(tmp_path / FILE)
    found = list(zip(table["split"], table["class"], strict=True))
    assert found == [(s, c) for s in ("valid", "test") for c in ("lungs", "heart")] + [("elsewhere", "heart")]
    assert (table[["dice", "iou", "hd95"]] == [1, 1, 0]).all(axis=None)
    assert [str(image[1]) for image in handler.overlays.chosen().values()] == [meta["filename_or_obj"]] * 3
    assert (tmp_path / "overlays.png").read_bytes().startswith(b"\x89PNG")
