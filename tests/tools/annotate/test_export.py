"""From the masks that were saved to a datalist for the bundles."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from doll_monai.data.datalist import load_datalist
from doll_monai.transforms.reading import LoadLabeld
from doll_tools.cli import main

KNOWN = (["lungs", "heart"], ["lungs", "heart"], ["lungs"], None)
"""Classes that were annotated in images; nothing is said of one that a tool put there."""


@pytest.fixture
def masks(tmp_path: Path) -> dict[str, np.ndarray]:
    """Masks of the images in ``images``; one more image has none."""
    folder, rng = tmp_path / "images", np.random.default_rng(0)
    (folder / "labels" / "final").mkdir(parents=True)
    objects = {f"image {number}.1": {"image": {"ext": ".png"}, "labels": {}} for number in range(len(KNOWN) + 1)}
    for name in objects:
        Image.fromarray(rng.integers(0, 255, (40, 30), dtype=np.uint8)).save(folder / f"{name}.png")
    masks = {name: rng.integers(0, 4, (40, 30), dtype=np.uint8) for name in list(objects)[: len(KNOWN)]}
    for (name, mask), classes in zip(masks.items(), KNOWN, strict=True):
        Image.fromarray(mask).save(folder / "labels" / "final" / f"{name}.png")
        objects[name]["labels"] = {"final": {"ext": ".png", "info": {"classes": classes} if classes else {}}}
    (folder / "datastore_v2.json").write_text(json.dumps({"objects": objects}))
    return masks


def test_saved_masks_become_channels(
    masks: dict[str, np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, out = tmp_path / "images", tmp_path / "out"
    options = ["--studies", str(images), "--output", str(out), "--classes", "lungs,heart", "--validation", "1"]
    assert main(["annotate", "export", *options]) == 0
    assert "2 training, 1 validation images with lungs, heart" in capsys.readouterr().out
    sections = ("training", "validation")
    records = [record for section in sections for record in load_datalist(out / "dataset.json", section, images, out)]
    assert sorted(Path(record["image"]).stem for record in records) == ["image 0.1", "image 1.1", "image 3.1"]
    for record in records:
        label = LoadLabeld("label", channels=2)(record)["label"].numpy().transpose(0, 2, 1)
        mask = masks[Path(record["image"]).stem]
        assert np.array_equal(label, np.stack([mask & 1, (mask & 2) // 2]))


@pytest.mark.parametrize(
    ("folder", "classes", "sentence"),
    [
        ("", "lungs", "datastore_v2.json does not exist; give the folder that the label app served"),
        ("images", "liver", "There is no class liver"),
        ("images", "clavicles", "has a final label for clavicles"),
    ],
)
@pytest.mark.usefixtures("masks")
def test_mistakes_end_in_a_sentence(
    folder: str, classes: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--studies", str(tmp_path / folder), "--classes", classes, "--output", str(tmp_path / "out")]
    assert main(["annotate", "export", *options]) == 1
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
