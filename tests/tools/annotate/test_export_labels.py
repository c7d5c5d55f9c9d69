"""From the masks that were saved to a datalist for the bundles."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from doll_monai.data.datalist import load_datalist
from doll_monai.transforms.reading import LoadLabeld
from narrow import ROOT


def _studies(folder: Path) -> dict[str, np.ndarray]:
    """Four images: two with lungs and heart, one with lungs alone, one without a label."""
    rng = np.random.default_rng(0)
    objects, masks = {}, {}
    (folder / "labels" / "final").mkdir(parents=True)
    for number, classes in enumerate((["lungs", "heart"], ["lungs", "heart"], ["lungs"], None)):
        name = f"image {number}.1"
        Image.fromarray(rng.integers(0, 255, (40, 30), dtype=np.uint8)).save(folder / f"{name}.png")
        labels = {}
        if classes:
            masks[name] = rng.integers(0, 4, (40, 30), dtype=np.uint8)
            Image.fromarray(masks[name]).save(folder / "labels" / "final" / f"{name}.png")
            labels = {"final": {"ext": ".png", "info": {"classes": classes}}}
        objects[name] = {"image": {"ext": ".png", "info": {}}, "labels": labels}
    (folder / "datastore_v2.json").write_text(json.dumps({"objects": objects}))
    return masks


def _export(*options: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "scripts" / "export_labels.py"), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_saved_masks_become_channels(tmp_path: Path) -> None:
    masks = _studies(tmp_path / "images")
    options = ("--studies", str(tmp_path / "images"), "--output", str(tmp_path / "out"))
    done = _export(*options, "--classes", "lungs,heart", "--validation", "1")
    assert done.returncode == 0, done.stderr
    assert "1 training, 1 validation images with lungs, heart" in done.stdout
    sections = [
        load_datalist(tmp_path / "out" / "dataset.json", name, tmp_path / "images", tmp_path / "out")
        for name in ("training", "validation")
    ]
    records = [record for section in sections for record in section]
    assert len(records) == 2
    for record in records:
        label = LoadLabeld("label", channels=2)(record)["label"].numpy().transpose(0, 2, 1)
        mask = masks[Path(record["image"]).name.removesuffix(".png")]
        assert np.array_equal(label, np.stack([mask & 1, (mask & 2) // 2]))


def test_mistakes_end_in_a_sentence(tmp_path: Path) -> None:
    _studies(tmp_path / "images")
    for options, sentence in (
        (("--studies", str(tmp_path), "--classes", "lungs"), "datastore_v2.json cannot be read"),
        (("--studies", str(tmp_path / "images"), "--classes", "liver"), "There is no class liver"),
        (("--studies", str(tmp_path / "images"), "--classes", "clavicles"), "has a final label for clavicles"),
    ):
        done = _export(*options, "--output", str(tmp_path / "out"))
        assert done.returncode == 1
        assert sentence in done.stderr
        assert not (tmp_path / "out").exists()
