"""Masks as pictures, classes as text, and tables of both: ``doll prepare masks``."""

from __future__ import annotations

import io
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from monai.transforms import LoadImage
from PIL import Image
from preparing import labels_of, mask, picture, read_datalist, sizes
from preparing import table as write_table

from any_content import damage, damaged
from doll_monai.utils.errors import InputError
from doll_tools.prepare.masks import parse_classes, read_mask
from doll_tools.prepare.tables import prepare_masks

DATA = os.environ.get("DOLL_DATA")
quick = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        ("lungs=right+left", {"lungs": ("right", "left")}),
        ("lungs=right + left, heart=heart", {"lungs": ("right", "left"), "heart": ("heart",)}),
        (("lungs=right+left", "heart"), {"lungs": ("right", "left"), "heart": ("heart",)}),
    ],
)
def test_classes_are_read(classes: Any, expected: dict) -> None:
    assert parse_classes(classes) == expected


@pytest.mark.parametrize("classes", ["", "=a", "a=", "a=b+", "a+b", "a=b=c", "a=b,a=c"])
def test_classes_that_cannot_be_read_are_one_sentence(classes: str) -> None:
    with pytest.raises(InputError, match=r"cannot be read; write name=|occurs twice"):
        parse_classes(classes)


@quick
@given(
    arrays(bool, array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=9)),
    st.sampled_from(["bool", "one", "255", "65535", "color", "palette"]),
    st.sampled_from(["png", "tif"]),
)
def test_a_mask_comes_back(tmp_path: Path, mask: np.ndarray, kind: str, suffix: str) -> None:
    values = mask.astype(np.uint8)
    pictures = {
        "bool": lambda: Image.fromarray(mask),
        "one": lambda: Image.fromarray(values),
        "255": lambda: Image.fromarray(values * 255),
        "65535": lambda: Image.fromarray(values.astype(np.uint16) * 65535),
        "color": lambda: Image.fromarray(np.stack([values * 255, 0 * values, 0 * values], axis=-1)),
        "palette": lambda: Image.fromarray(values * 255).convert("P"),
    }
    pictures[kind]().save(tmp_path / f"mask.{suffix}")
    assert np.array_equal(read_mask(tmp_path / f"mask.{suffix}"), mask)


@settings(quick, max_examples=150)
@given(damage, st.integers(0, 40), st.sampled_from(["PNG", "TIFF", "BMP", "JPEG", "GIF"]))
def test_any_mask_is_read_or_refused(tmp_path: Path, changes: list[tuple[int, int]], cut: int, kind: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.arange(48, dtype=np.uint8).reshape(6, 8) * 5).save(buffer, kind)
    (tmp_path / "mask.png").write_bytes(damaged(buffer.getvalue(), changes, cut))
    with suppress(InputError):
        assert read_mask(tmp_path / "mask.png").dtype == bool


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_table(tmp_path)["csv"]


def test_the_label_file_lies_on_the_image(tmp_path: Path, table: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "out"
    prepare_masks(table, "both=a+b,one=a", output=out, training=1, validation=1, quiet=True)
    assert capsys.readouterr().err == ""
    assert read_datalist(out)["labels"] == {"0": "both", "1": "one"}
    assert sizes(out)[:2] == [1, 1]
    load = LoadImage(image_only=True, ensure_channel_first=True)
    image = load(tmp_path / "images/0.png")
    name = next(record["label"] for record in read_datalist(out)["test"])
    label = load(out / name)
    assert image.shape == (1, 8, 5)
    assert label.shape == (2, 8, 5, 1)
    assert label[..., 0].nonzero().tolist() == [[0, 2, 3], [0, 6, 1], [1, 6, 1]]
    assert (label[1, ..., 0] > 0).equal(image[0] > 0)
    assert np.array_equal(label.affine, np.diag([-1, -1, 1, 1]))  # as ITK places pictures


def test_a_blank_cell_is_an_empty_mask(tmp_path: Path, table: Path) -> None:
    prepare_masks(table, "b", output=tmp_path / "out", training=0, validation=0)
    found = labels_of(tmp_path / "out")
    assert [found[f"images/{number}.png"].sum() for number in range(6)] == [1, 1, 1, 1, 1, 0]
    assert found["images/5.png"].shape == (1, 8, 5)


@pytest.mark.parametrize(
    ("change", "options", "sentence"),
    [
        (("masks/2_a.png", "masks/none.png"), {}, r"line 4: .*none.png does not exist"),
        (("images/2.png", "index.csv"), {}, r"line 4: The image .*index.csv cannot be read"),
        (("masks/2_a.png", "wide.png"), {}, r"line 4: [tT]he mask .*wide.png has 9 x 5 pixels, its image .*8 x 5"),
        (("masks/2_a.png", "cut.png"), {}, r"line 4: .*cut.png cannot be read"),
        (("images/2.png", "../images/2.png"), {}, "line 4: .* leads out of the data set"),
        (("images/2.png", "images/1.png"), {}, "line 4: images/1.png occurs twice, first in .*index.csv, line 3"),
        (("images/2.png", "images/1.jpg"), {}, "images/1.png and images/1.jpg would have the same label file"),
        (("", ""), {"classes": "heart"}, "has no column heart; it has: image, a, b, patient"),
        (("", ""), {"patient": "person"}, "has no column person"),
        (("", ""), {"training": 6}, "6 training and 1 validation images are asked for"),
    ],
)
def test_a_mistake_is_one_sentence_and_nothing_is_written(
    tmp_path: Path, table: Path, change: tuple[str, str], options: dict, sentence: str
) -> None:
    picture(tmp_path / "wide.png", np.zeros((5, 9), np.uint8))
    content = picture(tmp_path / "whole.png", np.random.randint(0, 255, (40, 40), np.uint8)).read_bytes()  # noqa: NPY002
    (tmp_path / "cut.png").write_bytes(content[: len(content) // 2])
    table.write_text(table.read_text().replace(*change) if change[0] else table.read_text())
    arguments = {"classes": "a", "training": 1, "validation": 1, **options}
    with pytest.raises(InputError, match=sentence) as caught:
        prepare_masks(table, output=tmp_path / "out", **arguments)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_masks_and_images_are_read_as_viewers_show_them(tmp_path: Path) -> None:
    """A mask and its image that lie on their side, one by a tag of EXIF and one as stored, have the same size."""
    exif = Image.Exif()
    exif[274] = 6
    upright = mask((1, 6), (3, 2))
    picture(tmp_path / "turned.png", np.ascontiguousarray(np.rot90(upright)), exif=exif)
    picture(tmp_path / "image.png", upright)
    assert np.array_equal(read_mask(tmp_path / "turned.png"), upright > 0)
    (tmp_path / "index.csv").write_text("image,a\nimage.png,turned.png\nturned.png,image.png\n")
    prepare_masks(tmp_path / "index.csv", "a", output=tmp_path / "out", training=1, validation=0)
    assert [found.sum() for found in labels_of(tmp_path / "out").values()] == [2, 2]


@pytest.mark.skipif(DATA is None, reason="set DOLL_DATA to the folder of real radiographs")
def test_real_masks_are_joined_pixel_for_pixel(tmp_path: Path) -> None:
    real = Path(str(DATA)) / "wingspan_lungs_heart"
    head = (real / "index.csv").read_text().splitlines()[:5]
    (tmp_path / "index.csv").write_text("\n".join(head) + "\n")
    options: dict[str, Any] = {"dataset_dir": real, "training": 1, "validation": 1}
    prepare_masks(tmp_path / "index.csv", "lungs=right_lung+left_lung,heart", output=tmp_path, **options)
    for image, label in labels_of(tmp_path).items():
        masks = [real / f"masks/{Path(image).stem}_{side}_lung.png" for side in ("right", "left")]
        assert np.array_equal(label[0].T > 0, np.any([np.asarray(Image.open(path)) > 127 for path in masks], axis=0))
