"""Masks on their way to annotation tools and back."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from monai.transforms import LoadImage
from PIL import Image

from doll_monai.data.geometry import with_meta
from doll_monai.transforms.reading import read_radiograph
from doll_monai.utils.errors import InputError
from doll_tools.annotate.masks import BITS, join_classes, label_values, read_mask, split_classes, write_mask
from doll_tools.annotate.model import TASKS, ServedModel
from narrow import ROOT

MASK = np.zeros((30, 20), dtype=np.uint8)
MASK[3:20, 2:12] = 1
MASK[10:25, 8:18] |= 2
AFFINE = np.array([[-0.2, 0, 0, 5], [0, -0.3, 0, 7], [0, 0, 1, 0], [0, 0, 0, 1]], dtype=float)
IMAGE = with_meta(np.zeros((1, 20, 30), np.float32), AFFINE, "image.dcm")


def test_every_class_of_the_bundles_and_every_overlap_has_a_value() -> None:
    assert {name for task in TASKS for name in ServedModel(ROOT / "bundles" / task, ROOT).classes} == set(BITS)
    values = label_values(["lungs", "heart", "clavicles"])
    assert values["lungs"] == 1
    assert values["lungs+heart"] == 3
    assert sorted(values.values()) == list(range(1, 8))
    assert label_values(["infection"]) == {"infection": 8}


def test_overlapping_classes_come_back() -> None:
    channels = np.random.default_rng(0).random((4, 9, 7)) > 0.5
    assert np.array_equal(split_classes(join_classes(channels, list(BITS)), list(BITS)), channels)


def test_segments_that_a_tool_numbered_anew_get_their_classes_values(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 1, 2]], np.uint8)).save(tmp_path / "mask.png")
    segments = [{"name": "heart"}, {"name": "lungs+heart"}]
    assert read_mask(tmp_path / "mask.png", segments=segments).tolist() == [[0, 2, 3]]
    with pytest.raises(InputError, match="There is no class liver"):
        read_mask(tmp_path / "mask.png", segments=[{"name": "liver"}])


@pytest.mark.parametrize("ending", [".png", ".tif", ".bmp", ".nii.gz", ".nrrd", ".mha"])
def test_mask_keeps_size_orientation_and_values(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"mask{ending}"
    write_mask(path, MASK, AFFINE)
    assert np.array_equal(read_mask(path, IMAGE), MASK)
    if ending in (".nii.gz", ".nrrd"):
        assert np.allclose(LoadImage(image_only=True)(path).affine, AFFINE, atol=1e-5)


@pytest.mark.parametrize("codes", [(1, 1), (0, 0)])
def test_a_mask_of_a_nifti_that_lies_on_its_side_fits_its_file(tmp_path: Path, codes: tuple[int, int]) -> None:
    """Rows first, from below: drawn in Slicer on the file's grid, or in a browser on the upright image."""
    affine = np.array([[0, -0.2, 0, 9], [0, 0, 1, 0], [0.3, 0, 0, -7], [0, 0, 0, 1]])
    stored = MASK[::-1] if codes == (1, 1) else MASK.T
    image = nib.Nifti1Image(stored[:, :, np.newaxis], affine)
    image.set_sform(image.affine, codes[0])
    image.set_qform(image.affine, codes[1])
    nib.save(image, tmp_path / "image.nii.gz")
    radiograph = read_radiograph(tmp_path / "image.nii.gz")
    assert np.array_equal(radiograph[0].numpy().T > 0, MASK > 0)
    assert np.array_equal(read_mask(tmp_path / "image.nii.gz", radiograph), MASK)
    written = tmp_path / "mask.nii.gz"
    write_mask(written, MASK, radiograph.meta["original_affine"].numpy(), tmp_path / "image.nii.gz")
    assert np.array_equal(nib.load(written).dataobj, image.dataobj)
    assert np.allclose(nib.load(written).affine, nib.load(tmp_path / "image.nii.gz").affine, atol=1e-5)
    assert np.array_equal(read_mask(written, radiograph), MASK)


def test_mask_of_equal_colors_is_taken(tmp_path: Path) -> None:
    Image.fromarray(np.dstack([MASK, MASK, MASK, np.full_like(MASK, 255)])).save(tmp_path / "mask.png")
    assert np.array_equal(read_mask(tmp_path / "mask.png", IMAGE), MASK)


@pytest.mark.parametrize(
    ("mask", "written", "size", "sentence"),
    [
        (MASK, "PNG", (30, 20), "The mask mask.png is 20 x 30 pixels, its image is 30 x 20; draw on the image."),
        (MASK * 85, "PNG", (20, 30), "The mask mask.png has the value 85; values are whole numbers from 0 to 15."),
        (np.full((30, 20, 3), [1, 2, 3]), "PNG", (20, 30), "The mask mask.png is in color; send one channel"),
        (
            np.dstack([MASK, MASK, MASK, MASK * 85]),
            "PNG",
            (20, 30),
            "The mask mask.png is transparent in part;",
        ),
        (MASK, "JPEG", (20, 30), r"The mask mask\.png cannot be read; send a PNG"),
        (MASK, None, (20, 30), r"The mask mask\.png cannot be read"),
    ],
)
def test_wrong_mask_is_refused(
    tmp_path: Path, mask: np.ndarray, written: str | None, size: tuple[int, int], sentence: str
) -> None:
    if written:
        Image.fromarray(mask.astype(np.uint8)).save(tmp_path / "mask.png", written)
    else:
        (tmp_path / "mask.png").write_text("no picture")
    with pytest.raises(InputError, match=sentence):
        read_mask(tmp_path / "mask.png", with_meta(np.zeros((1, *size), np.float32), AFFINE, "image.dcm"))
