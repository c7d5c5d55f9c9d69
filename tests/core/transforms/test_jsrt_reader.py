"""Raw images of JSRT, drawn here in its format."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from doll_monai.data.datalist import find_images
from doll_monai.transforms.reading import LoadRadiographd
from doll_monai.utils.errors import InputError

SIDE = 2048


def _image(path: Path) -> torch.Tensor:
    return LoadRadiographd("image")({"image": str(path)})["image"]


def _write(path: Path, image: np.ndarray, order: str = ">u2") -> Path:
    image.astype(order).tofile(path)
    return path


@pytest.fixture(scope="module")
def raw() -> np.ndarray:
    """(row, column): large in the lungs, which are right of the middle here, 0 elsewhere."""
    image = np.zeros((SIDE, SIDE), np.uint16)
    image[500:600, 1500:1700] = 4095
    image[10, 20] = 1000
    return image


def test_bone_is_bright_and_the_width_comes_first(raw: np.ndarray, tmp_path: Path) -> None:
    image = _image(_write(tmp_path / "JPCLN001.IMG", raw))
    assert image.shape == (1, SIDE, SIDE)
    assert image.dtype == torch.float32
    assert image[0, 1600, 550] == 0
    assert image[0, 550, 1600] == 4095
    assert image[0, 20, 10] == 4095 - 1000


def test_a_pixel_is_0_175_mm(raw: np.ndarray, tmp_path: Path) -> None:
    image = _image(_write(tmp_path / "JPCNN001.IMG", raw))
    assert torch.allclose(image.affine, torch.diag(torch.tensor([0.175, 0.175, 1, 1], dtype=torch.float64)))
    assert image.meta["filename_or_obj"] == str(tmp_path / "JPCNN001.IMG")


@pytest.mark.parametrize(
    ("content", "order", "sentence"),
    [
        (np.zeros((SIDE, SIDE - 1)), ">u2", r"cannot be read \(it has 8384512 bytes, a raw image of JSRT 8388608\)"),
        (np.full((SIDE, SIDE), 300), "<u2", r"values above 4095, so it is not of 12 bits or not big-endian"),
        (np.zeros(0), ">u2", r"it is empty"),
    ],
)
def test_another_file_is_one_sentence(content: np.ndarray, order: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=sentence):
        _image(_write(tmp_path / "JPCLN001.IMG", content, order))


def test_an_analyze_image_is_no_raw_image(tmp_path: Path) -> None:
    values = np.arange(24, dtype=np.int16).reshape(4, 6)
    nib.AnalyzeImage(values[:, :, None], np.eye(4)).to_filename(tmp_path / "image.img")
    with pytest.raises(InputError, match=r"image\.img cannot be read"):
        _image(tmp_path / "image.img")


def test_raw_images_are_found_in_a_folder(raw: np.ndarray, tmp_path: Path) -> None:
    _write(tmp_path / "JPCLN001.IMG", raw[:1])
    assert find_images(tmp_path) == [{"image": str(tmp_path / "JPCLN001.IMG")}]
