"""An image that could not be read costs its batch nothing, also when it is the whole batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.handlers import ClassificationSaver

import doll_monai.bundle as doll
from doll_monai.data.geometry import with_meta
from doll_monai.handlers import UnreadableImages
from doll_monai.utils.errors import InputError

BLACK = np.zeros((1, 2, 2), np.float32)


def _run(batches: list[str], folder: Path) -> None:
    """Images of one letter; capitals could not be read."""
    engine = Engine(lambda _engine, batch: [{"pred": torch.ones(2)} for _ in batch])
    UnreadableImages(folder).attach(engine)
    saver = ClassificationSaver(folder, batch_transform=doll.image_meta, output_transform=doll.predictions)
    saver.attach(engine)
    data = [
        [{"image": with_meta(BLACK, np.eye(4), name), "error": "Bad." * name.isupper()} for name in batch]
        for batch in batches
    ]
    engine.run(data)


def test_predictions_are_those_of_the_good_images(tmp_path: Path) -> None:
    _run(["aB", "CD", "e"], tmp_path)
    rows = (tmp_path / "predictions.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["a", "e"]
    assert (tmp_path / "failures.csv").read_text() == "image,reason\nB,Bad.\nC,Bad.\nD,Bad.\n"
    _run(["a", "e"], tmp_path)
    assert not (tmp_path / "failures.csv").exists()


def test_a_run_without_any_good_image_fails(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"None of the images could be read; .*failures.csv has why. Bad."):
        _run(["A", "BC"], tmp_path)
