from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from monai.transforms import LoadImage
from PIL import Image

from doll_monai.utils.errors import InputError
from doll_tools.prepare.masks import (
    label_array,
    label_file,
    limit_test,
    mask_records,
    parse_classes,
    read_mask,
    split_images,
)

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "scripts" / "prepare_masks.py"
REAL = ROOT.parent / "shared" / "data" / "wingspan_lungs_heart"
HEIGHT, WIDTH = 5, 8


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def mask_at(*pixels: tuple[int, int]) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    for pixel in pixels:
        mask[pixel] = 255
    return mask


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Six images of four patients; masks a and b are one pixel each, b of the last image is blank."""
    lines = ["image,a,b,patient"]
    for number, patient in enumerate("ppqrss"):
        image = mask_at((1, 6))
        save(tmp_path / f"images/{number}.png", image)
        save(tmp_path / f"masks/{number}_a.png", mask_at((1, 6)))
        save(tmp_path / f"masks/{number}_b.png", mask_at((3, 2)))
        lines.append(f"images/{number}.png,masks/{number}_a.png,masks/{number}_b.png,{patient}")
    lines[-1] = "images/5.png,masks/5_a.png,,s"
    (tmp_path / "index.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "index.csv"


def test_the_label_file_lies_on_the_image(tmp_path: Path, table: Path) -> None:
    mask_records(table, "both=a+b,one=a", tmp_path / "out", training=1, validation=1)
    load = LoadImage(image_only=True, ensure_channel_first=True)
    image = load(tmp_path / "images/0.png")
    label = load(tmp_path / "out/labels/images/0.nii.gz")
    assert image.shape == (1, WIDTH, HEIGHT)
    assert label.shape == (2, WIDTH, HEIGHT, 1)
    assert label[..., 0].nonzero().tolist() == [[0, 2, 3], [0, 6, 1], [1, 6, 1]]
    assert (label[1, ..., 0] > 0).equal(image[0] > 0)
    assert np.array_equal(label.affine, np.eye(4))


def test_one_class_keeps_its_channel(tmp_path: Path, table: Path) -> None:
    mask_records(table, "b", tmp_path / "out", training=0, validation=0)
    load = LoadImage(image_only=True, ensure_channel_first=True)
    assert load(tmp_path / "out/labels/images/0.nii.gz").shape == (1, WIDTH, HEIGHT, 1)
    assert load(tmp_path / "out/labels/images/0.nii.gz").sum() == 1
    assert load(tmp_path / "out/labels/images/5.nii.gz").sum() == 0


def test_the_same_label_gives_the_same_bytes(tmp_path: Path, table: Path) -> None:
    label = label_array(tmp_path / "images/0.png", {"a": [tmp_path / "masks/0_a.png"]})
    assert label.dtype == np.uint8
    assert label.shape == (WIDTH, HEIGHT, 1, 1)
    content = label_file(label)
    assert content == label_file(label.copy())
    assert content[4:8] == b"\0\0\0\0", "the time of writing is in the file"


@pytest.mark.parametrize(
    ("pixels", "foreground"),
    [
        (np.array([[0, 127, 128, 255]], np.uint8), [0, 0, 1, 1]),
        (np.array([[0, 1]], np.uint8), [0, 1]),
        (np.array([[0, 0]], np.uint8), [0, 0]),
        (np.array([[False, True]]), [0, 1]),
        (np.array([[0, 32767, 32768, 65535]], np.uint16), [0, 0, 1, 1]),
        (np.array([[[0, 0, 0], [255, 0, 0]]], np.uint8), [0, 1]),
        (np.array([[[0, 0, 0, 255], [0, 255, 0, 255]]], np.uint8), [0, 1]),
    ],
)
def test_foreground_is_above_half(tmp_path: Path, pixels: np.ndarray, foreground: list[int]) -> None:
    assert read_mask(save(tmp_path / "m.png", pixels))[0].tolist() == [bool(value) for value in foreground]


def test_numbers_of_classes_are_no_mask(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="values up to 3, none above 127"):
        read_mask(save(tmp_path / "m.png", np.array([[0, 1, 3]], np.uint8)))
    with pytest.raises(InputError, match="float32; save it with 8 or 16 bit"):
        read_mask(save(tmp_path / "m.tif", np.array([[0, 1]], np.float32)))


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        ("lungs=right+left", {"lungs": ("right", "left")}),
        ("lungs=right + left, heart=heart", {"lungs": ("right", "left"), "heart": ("heart",)}),
        (("lungs=right+left", "heart"), {"lungs": ("right", "left"), "heart": ("heart",)}),
        ({"lungs": ("right", "left")}, {"lungs": ("right", "left")}),
    ],
)
def test_classes_are_read(classes: object, expected: dict) -> None:
    assert parse_classes(classes) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize("classes", ["", "=a", "a=", "a=b+", "a+b", "a=b=c", "a=b,a=c", ("a", 3), 7, ()])
def test_classes_that_cannot_be_read_are_one_sentence(classes: object) -> None:
    with pytest.raises(InputError, match=r"cannot be read; write name=|occurs twice|There is no class"):
        parse_classes(classes)  # type: ignore[arg-type]


IMAGES = [f"p{number // 3}" for number in range(60)]


def test_sections_have_exactly_the_images_asked_for_and_share_no_patient() -> None:
    split = split_images(IMAGES, 10, 7, 0)
    assert (split.count("training"), split.count("validation"), split.count(None)) == (10, 7, 4)
    for patient in set(IMAGES):
        assert len({name for name, owner in zip(split, IMAGES, strict=True) if owner == patient} - {None}) == 1


def test_validation_stays_and_training_grows_with_more_training_images() -> None:
    few, many = split_images(IMAGES, 5, 7, 0), split_images(IMAGES, 20, 7, 0)
    for small, large in zip(few, many, strict=True):
        assert (small == "validation") == (large == "validation")
        assert small != "training" or large == "training"
    assert few != split_images(IMAGES, 5, 7, 1)


def test_surplus_images_of_a_patient_are_counted(tmp_path: Path, table: Path, caplog: pytest.LogCaptureFixture) -> None:
    table.write_text("\n".join(line.rpartition(",")[0] + ",p" for line in table.read_text().splitlines()[1:]))
    table.write_text("image,a,b,patient\n" + table.read_text())
    with caplog.at_level(logging.INFO):
        sections = mask_records(table, "a", tmp_path / "out", training=0, validation=2)
    assert {name: len(records) for name, records in sections.items()} == {"training": 0, "validation": 2, "test": 0}
    assert "4 images left out" in caplog.text


@pytest.mark.parametrize(
    ("change", "options", "sentence"),
    [
        (("masks/2_a.png", "masks/none.png"), {}, r"line 4: .*none.png does not exist"),
        (("masks/2_a.png", "index.csv"), {}, r"line 4: .*index.csv cannot be read as a picture"),
        (("images/2.png", "index.csv"), {}, r"line 4: .*index.csv cannot be read as a picture"),
        (("images/2.png", "images/none.png"), {}, r"line 4: .*none.png does not exist"),
        (("masks/2_a.png", "wide.png"), {}, r"line 4: the mask .*wide.png has 9 x 5 pixels, its image .* 8 x 5"),
        (("masks/2_a.png", "cut.png"), {}, r"line 4: .*cut.png cannot be read as a picture"),
        (("images/2.png", "../images/2.png"), {}, "line 4: .* leads out of the data set"),
        (("images/2.png", "images/1.png"), {}, "line 4: images/1.png and line 3 have the same label file"),
        (("images/2.png", "images/1.jpg"), {}, "line 4: images/1.jpg and line 3 have the same label file"),
        ((",q\n", ",\n"), {}, "line 4: patient is blank"),
        (("", ""), {"classes": "heart"}, "has no column heart; it has: image, a, b, patient"),
        (("", ""), {"image": "image"}, "has no column image"),
        (("", ""), {"patient": "person"}, "has no column person"),
        (("", ""), {"training": 6}, "6 training and 1 validation images are asked for"),
        (("", ""), {"training": -1}, "number of training images is -1"),
        (("", ""), {"validation": "ten"}, "number of validation images is ten"),
    ],
)
def test_a_mistake_is_one_sentence_and_nothing_is_written(
    tmp_path: Path, table: Path, change: tuple[str, str], options: dict, sentence: str
) -> None:
    save(tmp_path / "wide.png", np.zeros((5, 9), np.uint8))
    content = save(tmp_path / "whole.png", np.random.RandomState(0).randint(0, 255, (40, 40), np.uint8)).read_bytes()
    (tmp_path / "cut.png").write_bytes(content[: len(content) // 2])
    table.write_text(table.read_text().replace(*change) if change[0] else table.read_text())
    arguments = {"classes": "a", "training": 1, "validation": 1, **options}
    with pytest.raises(InputError, match=sentence) as caught:
        mask_records(table, output=tmp_path / "out", **arguments)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def run_script(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True, check=False)


def test_the_program_writes_labels_and_datalist(tmp_path: Path, table: Path) -> None:
    out = tmp_path / "out"
    options = ["--classes", "both=a+b,one=a", "--training", "1", "--validation", "1", "--quiet"]
    done = run_script("--csv", table, "--output", out, *options)
    assert done.returncode == 0, done.stderr
    assert "%)" not in done.stderr
    content = json.loads((out / "dataset.json").read_text())
    assert content["labels"] == {"0": "both", "1": "one"}
    assert len(content["training"]) == len(content["validation"]) == 1
    assert "training: 1 images" in done.stdout
    assert all((out / record["label"]).is_file() for record in content["training"] + content["test"])


def test_check_reads_everything_and_writes_nothing(tmp_path: Path, table: Path) -> None:
    sections = mask_records(table, "a", tmp_path / "out", training=0, validation=0, check=True)
    assert sum(map(len, sections.values())) == 6
    (tmp_path / "masks/3_a.png").unlink()
    with pytest.raises(InputError, match=r"3_a.png does not exist"):
        mask_records(table, "a", tmp_path / "out", training=0, validation=0, check=True)
    assert not (tmp_path / "out").exists()


def test_the_program_fails_with_one_sentence_and_writes_nothing(tmp_path: Path, table: Path) -> None:
    out = tmp_path / "out"
    done = run_script("--csv", table, "--classes", "a,heart", "--output", out, "--training", "1", "--validation", "1")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("Error: ")
    assert "has no column heart" in done.stderr
    assert not out.exists()


@pytest.mark.skipif(not REAL.is_dir(), reason="the development images in ../shared/data are absent")
def test_real_masks_are_joined_pixel_for_pixel(tmp_path: Path) -> None:
    head = (REAL / "index.csv").read_text().splitlines()[:5]
    (tmp_path / "index.csv").write_text("\n".join(head) + "\n")
    classes = "lungs=right_lung+left_lung,heart"
    sections = mask_records(
        tmp_path / "index.csv", classes, tmp_path, training=1, validation=1, dataset_dir=REAL, patient="patient"
    )
    record = sections["training"][0]
    label = LoadImage(image_only=True, ensure_channel_first=True)(tmp_path / record["label"]).numpy()
    stem = Path(record["image"]).stem
    right, left = (np.asarray(Image.open(REAL / f"masks/{stem}_{side}_lung.png")) > 127 for side in ("right", "left"))
    assert np.array_equal(label[0, :, :, 0].T > 0, right | left)


def test_limited_test_images_are_the_same_for_every_number_of_training_images() -> None:
    kept = []
    for training in (2, 10):
        split = limit_test(split_images(IMAGES, training, 3, 0), IMAGES, 4, 0)
        kept.append([index for index, section in enumerate(split) if section == "test"])
        assert split.count("training") == training
    assert len(kept[0]) == 4
    assert kept[0] == kept[1]


def test_a_mask_is_read_as_viewers_show_it(tmp_path: Path) -> None:
    """A mask and its image that lie on their side, one by a tag of EXIF and one as stored, have the same size."""
    exif = Image.Exif()
    exif[274] = 6
    upright = mask_at((1, 6), (3, 2))
    Image.fromarray(np.ascontiguousarray(np.rot90(upright))).save(tmp_path / "turned.png", exif=exif)
    save(tmp_path / "image.png", upright)
    assert np.array_equal(read_mask(tmp_path / "turned.png"), upright > 0)
    assert label_array(tmp_path / "image.png", {"a": [tmp_path / "turned.png"]}).sum() == 2
    assert label_array(tmp_path / "turned.png", {"a": [tmp_path / "image.png"]}).sum() == 2
