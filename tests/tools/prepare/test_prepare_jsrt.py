"""JSRT with SCR: raw images of the real size (sparse files), masks of half the size, folds as folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from preparing import mask, picture, read_datalist, run_program, tree

from doll_monai.data.jsrt import SIDE
from doll_monai.transforms.reading import LoadLabeld, LoadRadiographd
from doll_monai.utils.errors import InputError
from doll_tools.prepare import jsrt

HALF = (SIDE // 2, SIDE // 2)
PLACES = {
    "right lung": (100, 200),
    "left lung": (100, 800),
    "heart": (500, 600),
    "right clavicle": (50, 200),
    "left clavicle": (50, 1023),
}
"""Where each mask has its one pixel, (row, column)."""


def image(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        file.truncate(2 * SIDE * SIDE)
    return path


@pytest.fixture(scope="module")
def masks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("gif")
    pictures = {organ: mask(place, shape=HALF) for organ, place in PLACES.items()}
    return {organ: picture(folder / f"{organ}.gif", pixels).read_bytes() for organ, pixels in pictures.items()}


@pytest.fixture
def jsrt_dir(tmp_path: Path, masks: dict[str, bytes]) -> Path:
    """Odd numbers in fold 1, even ones in fold 2, as SCR has them."""
    folder = tmp_path / "JSRT"
    for name in ("JPCLN001", "JPCLN002", "JPCNN001", "JPCNN003"):
        image(folder / "All247images" / f"{name}.IMG")
        for organ, content in masks.items():
            path = folder / "scratch" / f"fold{2 - int(name[-1]) % 2}" / "masks" / organ / f"{name}.gif"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return folder


def test_masks_are_doubled_to_the_images_own_pixels(
    jsrt_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    before, out = tree(jsrt_dir), tmp_path / "out"
    arguments = ["--training", 1, "--validation", 1]
    run_program(monkeypatch, "prepare_jsrt", "--dataset_dir", jsrt_dir, "--output", out, *arguments)
    assert tree(jsrt_dir) == before
    content = read_datalist(out / "dataset.json")
    assert content["labels"] == {"0": "lungs", "1": "heart", "2": "clavicles"}
    assert len(content["training"]) == len(content["validation"]) == 1
    (record,) = content["test"]
    assert record["image"] == "All247images/JPCLN002.IMG"
    label = LoadLabeld("label")({"label": str(out / record["label"])})["label"]
    loaded = LoadRadiographd("image")({"image": str(jsrt_dir / record["image"])})["image"]
    assert label.shape == (3, SIDE, SIDE)
    assert loaded.shape == (1, SIDE, SIDE)
    assert np.allclose(label.affine, loaded.affine)
    heart = label[1].nonzero().tolist()
    assert heart == [[1200, 1000], [1200, 1001], [1201, 1000], [1201, 1001]]
    assert label.sum(dim=(1, 2)).tolist() == [8, 4, 8]
    printed = capsys.readouterr().out
    assert [line.split()[2:4] for line in printed.splitlines() if line.startswith("fold")] == [
        ["3", "124"],
        ["1", "123"],
    ]


def test_the_other_fold_can_learn_and_masks_can_lie_elsewhere(jsrt_dir: Path, tmp_path: Path) -> None:
    (jsrt_dir / "scratch").rename(tmp_path / "SCR")
    prepared = jsrt.prepare(jsrt_dir, scr_dir=tmp_path / "SCR", train_fold=2, classes="heart", validation=0, training=1)
    sections = {Path(found.image).stem: found.section for found in prepared.images}
    assert sections == {"JPCLN002": "training", "JPCLN001": "test", "JPCNN001": "test", "JPCNN003": "test"}
    assert prepared.classes == ["heart"]


def test_check_names_what_is_wrong_and_writes_nothing(
    jsrt_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    (jsrt_dir / "scratch/fold1/masks/heart/JPCNN003.gif").unlink()
    (jsrt_dir / "All247images/JPCLN002.IMG").write_bytes(b"\0" * 10)
    image(jsrt_dir / "All247images/JPCLN009.IMG")
    before = tree(tmp_path)
    with pytest.raises(InputError, match="3 of 5 images or their masks"):
        run_program(monkeypatch, "prepare_jsrt", "--dataset_dir", jsrt_dir, "--check", "--classes", "heart")
    printed = capsys.readouterr().out
    assert "JPCNN003.gif does not exist" in printed
    assert "JPCLN009.IMG has no mask in either fold" in printed
    assert "JPCLN002.IMG cannot be read (it has 10 bytes" in printed
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"train_fold": 3}, "train_fold is 3; it must be 1 or 2"),
        ({"classes": "aorta"}, "SCR has no masks of 'aorta'; it has: right_lung"),
        ({"scr_dir": "All247images"}, "has 0 folders fold1/masks; scr_dir must be"),
    ],
)
def test_a_wrong_option_is_one_sentence(jsrt_dir: Path, options: dict, sentence: str) -> None:
    if "scr_dir" in options:
        options = {"scr_dir": jsrt_dir / options["scr_dir"]}
    with pytest.raises(InputError, match=sentence):
        jsrt.prepare(jsrt_dir, **options)


def test_a_image_in_both_folds_or_nowhere_is_refused(jsrt_dir: Path, tmp_path: Path, masks: dict[str, bytes]) -> None:
    (jsrt_dir / "scratch/fold1/masks/heart/JPCLN002.gif").write_bytes(masks["heart"])
    with pytest.raises(InputError, match="JPCLN002 has masks in both folds"):
        jsrt.prepare(jsrt_dir)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"has no image JPCLNnnn\.IMG"):
        jsrt.prepare(tmp_path / "empty")
