"""JSRT with SCR: raw images of the real size (sparse files), masks of half the size, folds as folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from preparing import counted, labels_of, mask, picture, read_datalist, tree

from doll_monai.transforms.reading import LoadRadiographd
from doll_monai.utils.errors import InputError
from doll_tools.prepare.jsrt import prepare_jsrt

SIDE = 2048
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
    pictures = {organ: mask(place, shape=(SIDE // 2, SIDE // 2)) for organ, place in PLACES.items()}
    return {organ: picture(folder / f"{organ}.gif", pixels).read_bytes() for organ, pixels in pictures.items()}


@pytest.fixture
def jsrt(tmp_path: Path, masks: dict[str, bytes]) -> Path:
    """Odd numbers in fold 1, even ones in fold 2, as SCR has them."""
    folder = tmp_path / "JSRT"
    for name in ("JPCLN001", "JPCLN002", "JPCNN001", "JPCNN003"):
        image(folder / "All247images" / f"{name}.IMG")
        for organ, content in masks.items():
            path = folder / "scratch" / f"fold{2 - int(name[-1]) % 2}" / "masks" / organ / f"{name}.gif"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return folder


def test_masks_are_doubled_to_the_images_own_pixels(jsrt: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    before, out = tree(jsrt), tmp_path / "out"
    prepare_jsrt(jsrt, out, training=1, validation=1)
    assert tree(jsrt) == before
    content = read_datalist(out)
    assert content["labels"] == {"0": "lungs", "1": "heart", "2": "clavicles"}
    assert len(content["training"]) == len(content["validation"]) == 1
    assert [record["image"] for record in content["test"]] == ["All247images/JPCLN002.IMG"]
    label = labels_of(out)["All247images/JPCLN002.IMG"]
    loaded = LoadRadiographd("image")({"image": str(jsrt / "All247images/JPCLN002.IMG")})["image"]
    assert label.shape == (3, *loaded.shape[1:]) == (3, SIDE, SIDE)
    assert np.argwhere(label[1]).tolist() == [[1200, 1000], [1200, 1001], [1201, 1000], [1201, 1001]]
    assert label.sum(axis=(1, 2)).tolist() == [8, 4, 8]
    printed = capsys.readouterr().out
    assert counted(printed, "fold 1") == ["3", "124", "differs"]
    assert counted(printed, "fold 2") == ["1", "123", "differs"]


def test_the_other_fold_can_be_for_training_and_masks_can_lie_elsewhere(jsrt: Path, tmp_path: Path) -> None:
    """Images are PNG of the masks' size here, as JSRT is passed on too."""
    (jsrt / "scratch").rename(tmp_path / "SCR")
    for path in (jsrt / "All247images").iterdir():
        picture(path.with_suffix(".png"), np.zeros((SIDE // 2, SIDE // 2), np.uint8))
        path.unlink()
    options: dict[str, Any] = {"scr_dir": tmp_path / "SCR", "classes": "heart", "training": 1, "validation": 0}
    prepare_jsrt(jsrt, tmp_path / "out", train_fold=2, **options)
    content = read_datalist(tmp_path / "out")
    assert [record["image"] for record in content["training"]] == ["All247images/JPCLN002.png"]
    assert len(content["test"]) == 3
    assert all(np.argwhere(label).tolist() == [[0, 600, 500]] for label in labels_of(tmp_path / "out").values())


def test_check_names_what_is_wrong_and_writes_nothing(
    jsrt: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (jsrt / "scratch/fold1/masks/heart/JPCNN003.gif").unlink()
    (jsrt / "All247images/JPCLN002.IMG").write_bytes(b"\0" * 10)
    image(jsrt / "All247images/JPCLN009.IMG")
    before = tree(tmp_path)
    with pytest.raises(InputError, match="3 of 5 images or their masks"):
        prepare_jsrt(jsrt, check=True, classes="heart")
    printed = capsys.readouterr().out
    assert "The mask heart of JPCNN003 does not exist in fold 1 of SCR" in printed
    assert "JPCLN009.IMG has no mask in either fold" in printed
    assert "JPCLN002.IMG cannot be read (it has 10 bytes" in printed
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"train_fold": 3}, "train_fold is 3; it must be 1 or 2"),
        ({"classes": "aorta"}, "SCR has no masks of 'aorta'; it has: right_lung"),
        ({"scr_dir": "All247images"}, "has 0 folders fold1/masks; scr_dir must be"),
        ({"dataset_dir": "scratch"}, r"has no image JPCLNnnn\.IMG"),
        ({"twice": True}, "JPCLN002 has masks in both folds"),
    ],
)
def test_a_mistake_is_one_sentence(jsrt: Path, options: dict, sentence: str, masks: dict[str, bytes]) -> None:
    if options.pop("twice", False):
        (jsrt / "scratch/fold1/masks/heart/JPCLN002.gif").write_bytes(masks["heart"])
    options = {"dataset_dir": jsrt, **{key: jsrt / value if "dir" in key else value for key, value in options.items()}}
    with pytest.raises(InputError, match=sentence):
        prepare_jsrt(**options)
