"""One image in every encoding gives one label, saved on the image's own grid by the blocks that the bundle declares."""

from __future__ import annotations

import gzip
import pickle
from pathlib import Path

import itk
import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image

from doll_monai.transforms.reading import LoadRadiographd
from doll_tools.phantom.image import draw_image
from image_encodings import ENCODINGS, LOSSY, PATIENT
from segmented import segment

WIDTH, HEIGHT = 96, 72
WITH_POSITION = tuple(name for name in ENCODINGS if not name.endswith(("png", "jpg", "jpeg", "bmp", "tif", "tiff")))


@pytest.fixture(scope="module")
def grey() -> np.ndarray:
    """A drawn image, (HEIGHT, WIDTH), whose darkest and brightest pixels are 10 and 240."""
    image = Image.fromarray(draw_image(np.random.default_rng(3), 160).image).resize((WIDTH, HEIGHT))
    values = np.asarray(image, dtype=float)
    return (10 + 230 * (values - values.min()) / np.ptp(values)).round().astype(np.uint8)


def _mask(image: nib.Nifti1Image, path: Path) -> np.ndarray:
    """(H, W) bool, as nibabel sets a NIfTI upright, and others as they are stored."""
    if ".nii" in path.name:
        volume = nib.Nifti1Image(np.asarray(image.dataobj).reshape(*image.shape[:2], 1), image.affine)
        image = nib.as_closest_canonical(volume).slicer[::-1, ::-1]
    return np.asarray(image.dataobj).squeeze().T > 0


@pytest.fixture(scope="module")
def expected(grey: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """The mask of the plain PNG; a mask that has been turned or mirrored is another one."""
    folder = tmp_path_factory.mktemp("plain")
    ENCODINGS["grey.png"](grey, folder / "grey.png")
    mask = _mask(segment(folder / "grey.png", folder / "masks"), folder / "grey.png")
    assert mask.shape == (HEIGHT, WIDTH)
    assert 0.1 < mask.mean() < 0.9
    assert all((mask != other).mean() > 0.05 for other in (mask[::-1], mask[:, ::-1], mask[::-1, ::-1]))
    return mask


@pytest.mark.parametrize("name", ENCODINGS)
def test_every_encoding_gives_the_same_label(name: str, grey: np.ndarray, expected: np.ndarray, tmp_path: Path) -> None:
    ENCODINGS[name](grey, tmp_path / name)
    mask = _mask(segment(tmp_path / name, tmp_path / "masks"), tmp_path / name)
    assert mask.shape == (HEIGHT, WIDTH)
    if name in LOSSY:
        assert 2 * (mask & expected).sum() / (mask.sum() + expected.sum()) > 0.99
    else:
        assert np.array_equal(mask, expected)


@pytest.mark.parametrize("name", WITH_POSITION)
def test_the_label_lies_where_its_image_lies(name: str, grey: np.ndarray, tmp_path: Path) -> None:
    ENCODINGS[name](grey, tmp_path / name)
    saved = segment(tmp_path / name, tmp_path / "masks")
    if ".nii" in name:
        radiograph = nib.load(tmp_path / name).affine
    else:
        image = itk.imread(str(tmp_path / name))
        axes = image.GetImageDimension()
        radiograph = np.eye(4)
        radiograph[:axes, :axes] = np.asarray(itk.array_from_matrix(image.GetDirection())) * np.asarray(
            image.GetSpacing()
        )
        radiograph[:axes, 3] = image.GetOrigin()
        radiograph = np.diag([-1, -1, 1, 1]) @ radiograph  # ITK's left and posterior are NIfTI's right and anterior
    np.testing.assert_allclose(saved.affine, radiograph, atol=1e-5)


def test_the_spacing_of_dicom_reaches_the_label(grey: np.ndarray, tmp_path: Path) -> None:
    ENCODINGS["plain.dcm"](grey, tmp_path / "plain.dcm")
    zooms = segment(tmp_path / "plain.dcm", tmp_path / "masks").header.get_zooms()
    np.testing.assert_allclose(zooms[:2], (0.2, 0.3), rtol=1e-6)  # columns are closer to each other than rows


def test_nothing_of_the_patient_goes_further(grey: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "image.dcm"
    ENCODINGS["plain.dcm"](grey, path)
    secrets = [value.encode() for _, value in PATIENT.values()]
    assert all(secret in path.read_bytes() for secret in secrets)
    image = pickle.dumps(LoadRadiographd()({"image": str(path)}))
    segment(path, tmp_path / "masks")
    (saved,) = (tmp_path / "masks").glob("*.nii.gz")
    for content in (image, gzip.decompress(saved.read_bytes())):
        assert not any(secret in content for secret in (*secrets, b"0010|0010", b"St Nowhere"))


def test_what_else_is_installed_does_not_matter(
    grey: np.ndarray, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ENCODINGS["inverted.dcm"](grey, tmp_path / "image.dcm")
    expected = LoadRadiographd()({"image": tmp_path / "image.dcm"})["image"]
    monkeypatch.setenv("MONAI_DICOM_READER", "pydicom")
    image = LoadRadiographd()({"image": tmp_path / "image.dcm"})["image"]
    assert torch.equal(image.as_tensor(), expected.as_tensor())
