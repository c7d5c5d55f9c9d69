"""Masks on their way to annotation tools and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from doll_monai.transforms.reading import LoadLabeld
from doll_monai.utils.errors import InputError
from doll_tools.annotate.label_map import (
    class_bits,
    join_classes,
    label_values,
    read_mask,
    split_classes,
    strongest,
    write_mask,
)

CLASSES = ("lungs", "heart", "clavicles")


def _mask() -> np.ndarray:
    mask = np.zeros((30, 20), dtype=np.uint8)
    mask[3:20, 2:12] = 1
    mask[10:25, 8:18] |= 2
    return mask


def test_every_overlap_has_a_name() -> None:
    values = label_values(class_bits(CLASSES))
    assert values["lungs"] == 1
    assert values["lungs+heart"] == 3
    assert sorted(values.values()) == list(range(1, 8))


def test_overlapping_classes_come_back() -> None:
    channels = np.random.default_rng(0).random((3, 9, 7)) > 0.5
    bits = list(class_bits(CLASSES).values())
    assert np.array_equal(split_classes(join_classes(channels, bits), bits), channels)


def test_nine_classes_are_too_many() -> None:
    with pytest.raises(InputError, match="up to 8 different classes"):
        class_bits([str(number) for number in range(9)])


def test_strongest_class_is_shown() -> None:
    probabilities = np.array([[[0.6, 0.2, 0.9]], [[0.7, 0.4, 0.1]]])
    assert strongest(probabilities).tolist() == [[2, 0, 1]]


@pytest.mark.parametrize("ending", [".png", ".tif", ".bmp", ".nii.gz", ".nrrd", ".mha"])
def test_mask_keeps_size_orientation_and_values(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"mask{ending}"
    write_mask(path, _mask(), np.diag([-0.2, -0.2, 1, 1]))
    assert np.array_equal(read_mask(path, (20, 30), 3), _mask())


def test_volume_lies_on_its_image(tmp_path: Path) -> None:
    affine = np.array([[-0.2, 0, 0, 5], [0, -0.3, 0, 7], [0, 0, 1, 0], [0, 0, 0, 1]], dtype=float)
    for ending in (".nii.gz", ".nrrd"):
        write_mask(tmp_path / f"mask{ending}", _mask(), affine)
        read = LoadLabeld("label").load(tmp_path / f"mask{ending}")
        assert np.allclose(read.affine, affine, atol=1e-5)


def test_mask_of_equal_colors_is_taken(tmp_path: Path) -> None:
    grey = Image.fromarray(_mask())
    Image.merge("RGBA", [grey, grey, grey, Image.new("L", grey.size, 255)]).save(tmp_path / "mask.png")
    assert np.array_equal(read_mask(tmp_path / "mask.png", (20, 30), 3), _mask())


@pytest.mark.parametrize(
    ("mask", "size", "sentence"),
    [
        (_mask(), (30, 20), "The mask mask.png is 20 x 30 pixels, its image is 30 x 20; draw on the image."),
        (_mask() * 85, (20, 30), "The mask mask.png has the value 85; values are whole numbers from 0 to 3."),
        (np.full((30, 20, 3), [1, 2, 3]), (20, 30), "The mask mask.png is in color; send one channel"),
    ],
)
def test_wrong_mask_is_refused(tmp_path: Path, mask: np.ndarray, size: tuple[int, int], sentence: str) -> None:
    Image.fromarray(mask.astype(np.uint8)).save(tmp_path / "mask.png")
    with pytest.raises(InputError, match=sentence):
        read_mask(tmp_path / "mask.png", size, 3)


def test_no_mask_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mask.png").write_text("no picture")
    with pytest.raises(InputError, match=r"The mask mask\.png cannot be read"):
        read_mask(tmp_path / "mask.png", (20, 30), 3)


def test_unknown_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be written as mask\.jpg"):
        write_mask(tmp_path / "mask.jpg", _mask(), np.eye(4))
