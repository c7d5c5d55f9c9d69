"""Reading films of any file type, and labels; a bad file is named."""

from __future__ import annotations

from pathlib import Path

import itk
import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import decollate_batch, list_data_collate
from PIL import Image

from doll_monai.data import write_label
from doll_monai.errors import InputError
from doll_monai.findings import IGNORE
from doll_monai.transforms import LoadFilmd, LoadLabeld

HEIGHT, WIDTH = 6, 9


@pytest.fixture
def grey() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)


def _film(path: Path) -> torch.Tensor:
    return LoadFilmd("image")({"image": str(path)})["image"]


def _colours(grey: np.ndarray, *others: np.ndarray) -> np.ndarray:
    return np.stack([grey, *others], axis=-1)


def test_grey_picture_keeps_its_values_with_the_width_first(grey: np.ndarray, tmp_path: Path) -> None:
    Image.fromarray(grey).save(tmp_path / "film.png")
    film = _film(tmp_path / "film.png")
    assert film.shape == (1, WIDTH, HEIGHT)
    assert film.dtype == torch.float32
    assert np.array_equal(film[0].numpy().T, grey)
    assert film.meta["filename_or_obj"] == str(tmp_path / "film.png")


def test_jpeg_is_read(tmp_path: Path) -> None:
    Image.fromarray(np.full((HEIGHT, WIDTH), 130, np.uint8)).save(tmp_path / "film.jpg")
    assert torch.equal(_film(tmp_path / "film.jpg").as_tensor(), torch.full((1, WIDTH, HEIGHT), 130.0))


def test_colours_are_averaged(grey: np.ndarray, tmp_path: Path) -> None:
    Image.fromarray(_colours(grey, grey // 2, 0 * grey)).save(tmp_path / "film.png")
    expected = (grey.astype(float) + grey // 2) / 3
    np.testing.assert_allclose(_film(tmp_path / "film.png")[0].numpy().T, expected, rtol=1e-6)


@pytest.mark.parametrize("channels", [2, 4])
def test_opacity_is_dropped(grey: np.ndarray, channels: int, tmp_path: Path) -> None:
    opacity = np.random.default_rng(1).integers(0, 256, grey.shape, dtype=np.uint8)
    Image.fromarray(_colours(*[grey] * (channels - 1), opacity)).save(tmp_path / "film.png")
    np.testing.assert_allclose(_film(tmp_path / "film.png")[0].numpy().T, grey, rtol=1e-6)


def test_sixteen_bits_are_kept(grey: np.ndarray, tmp_path: Path) -> None:
    deep = grey.astype(np.uint16) * 251 + 3
    Image.fromarray(deep).save(tmp_path / "film.png")
    assert np.array_equal(_film(tmp_path / "film.png")[0].numpy().T, deep)


def test_palette_is_resolved_to_its_greys(grey: np.ndarray, tmp_path: Path) -> None:
    picture = Image.fromarray(grey // 16).convert("P")
    picture.putpalette([value for index in range(256) for value in [255 - 16 * min(index, 15)] * 3])
    picture.save(tmp_path / "film.png")
    expected = np.asarray(picture.convert("L"))
    np.testing.assert_allclose(_film(tmp_path / "film.png")[0].numpy().T, expected, rtol=1e-6)


@pytest.mark.parametrize("shape", [(WIDTH, HEIGHT), (WIDTH, HEIGHT, 1)])
def test_nifti_with_or_without_a_trailing_axis_is_a_film(shape: tuple[int, ...], tmp_path: Path) -> None:
    values = np.random.default_rng(0).random(shape).astype(np.float32)
    nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / "film.nii.gz")
    film = _film(tmp_path / "film.nii.gz")
    assert film.shape == (1, WIDTH, HEIGHT)
    assert np.array_equal(film[0].numpy(), values.reshape(WIDTH, HEIGHT))


def test_dicom_is_bright_where_rays_were_absorbed_in_both_conventions(grey: np.ndarray, tmp_path: Path) -> None:
    itk.imwrite(itk.image_from_array(grey.astype(np.uint16)), str(tmp_path / "two.dcm"))
    content = (tmp_path / "two.dcm").read_bytes()
    assert b"MONOCHROME2" in content
    (tmp_path / "one.dcm").write_bytes(content.replace(b"MONOCHROME2", b"MONOCHROME1"))
    two, one = (_film(tmp_path / f"{name}.dcm")[0].numpy().T for name in ("two", "one"))
    assert np.array_equal(two, grey)
    assert len(np.unique(one + two)) == 1


def test_a_volume_is_no_film(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.zeros((8, 8, 5), np.float32), np.eye(4)), tmp_path / "volume.nii.gz")
    with pytest.raises(InputError, match=r"volume\.nii\.gz is no two-dimensional image but 8 x 8 x 5"):
        _film(tmp_path / "volume.nii.gz")


def test_values_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.full((8, 8), np.nan, np.float32), np.eye(4)), tmp_path / "nan.nii.gz")
    with pytest.raises(InputError, match=r"nan\.nii\.gz holds values that are no numbers"):
        _film(tmp_path / "nan.nii.gz")


@pytest.mark.parametrize("load", [LoadFilmd("image"), LoadLabeld("image")])
def test_a_missing_file_is_named(load, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.png does not exist"):
        load({"image": str(tmp_path / "absent.png")})


@pytest.mark.parametrize("load", [LoadFilmd("image"), LoadLabeld("image")])
def test_a_truncated_file_is_named(load, tmp_path: Path) -> None:
    path = tmp_path / "short.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(InputError, match=r"short\.png cannot be read"):
        load({"image": str(path)})


@pytest.mark.parametrize("load", [LoadFilmd("image"), LoadLabeld("image")])
def test_a_text_file_named_png_is_named(load, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("not a picture")
    with pytest.raises(InputError, match=r"text\.png cannot be read"):
        load({"image": str(tmp_path / "text.png")})


def test_a_label_file_comes_back_as_it_was_written(tmp_path: Path) -> None:
    label = np.random.default_rng(0).choice(np.array([0, 1, IGNORE], np.uint8), (14, WIDTH, HEIGHT))
    affine = np.diag([-2.0, -3.0, 1.0, 1.0])
    write_label(tmp_path / "label.nii.gz", label, affine)
    result = LoadLabeld("label", channels=14)({"label": str(tmp_path / "label.nii.gz")})["label"]
    assert result.dtype == torch.uint8
    assert np.array_equal(result.numpy(), label)
    assert np.array_equal(result.affine.numpy(), affine)


@pytest.mark.parametrize(("dtype", "slope"), [(np.uint8, 1.0), (np.int16, 1.0), (np.float32, 1.0), (np.uint8, 0.5)])
@pytest.mark.parametrize("shape", [(WIDTH, HEIGHT), (WIDTH, HEIGHT, 1), (WIDTH, HEIGHT, 1, 3)])
def test_a_label_file_of_another_program_is_read(shape, dtype, slope: float, tmp_path: Path) -> None:
    stored = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    image = nib.Nifti1Image(stored, np.diag([2.0, 3.0, 1.0, 1.0]))
    image.header.set_slope_inter(slope, 0.0)
    nib.save(image, tmp_path / "label.nii.gz")
    label = LoadLabeld("label")({"label": tmp_path / "label.nii.gz"})["label"]
    values = np.asarray(nib.load(tmp_path / "label.nii.gz").dataobj).astype(np.uint8)
    assert label.dtype == torch.uint8
    assert np.array_equal(label.numpy(), np.moveaxis(values.reshape(WIDTH, HEIGHT, -1), -1, 0))


def test_a_truncated_label_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "label.nii.gz"
    write_label(path, np.random.default_rng(0).integers(0, 2, (14, WIDTH, HEIGHT)))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match=r"label\.nii\.gz cannot be read"):
        LoadLabeld("label")({"label": path})
    path.unlink()
    with pytest.raises(InputError, match=r"label\.nii\.gz does not exist"):
        LoadLabeld("label")({"label": path})


@pytest.mark.parametrize("foreground", [1, 255])
def test_a_picture_of_a_mask_is_zero_and_one(foreground: int, tmp_path: Path) -> None:
    mask = np.random.default_rng(0).random((HEIGHT, WIDTH)) < 0.5
    Image.fromarray((mask * foreground).astype(np.uint8)).save(tmp_path / "mask.png")
    label = LoadLabeld("label", channels=1)({"label": str(tmp_path / "mask.png")})["label"]
    assert label.dtype == torch.uint8
    assert np.array_equal(label[0].numpy().T, mask)


def test_an_empty_mask_stays_empty(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((HEIGHT, WIDTH), np.uint8)).save(tmp_path / "mask.png")
    assert int(LoadLabeld("label")({"label": str(tmp_path / "mask.png")})["label"].max()) == 0


def test_wrong_number_of_channels_is_refused(tmp_path: Path) -> None:
    write_label(tmp_path / "two.nii.gz", np.zeros((2, WIDTH, HEIGHT), np.uint8))
    with pytest.raises(InputError, match=r"two\.nii\.gz has 2 channels instead of 14"):
        LoadLabeld("label", channels=14)({"label": str(tmp_path / "two.nii.gz")})
    assert LoadLabeld("label")({"label": str(tmp_path / "two.nii.gz")})["label"].shape[0] == 2


def test_films_of_several_types_stand_in_one_batch(tmp_path: Path) -> None:
    values = np.arange(20 * 30, dtype=np.int16).reshape(20, 30)
    Image.fromarray(values.astype(np.uint8)).save(tmp_path / "film.png")
    nib.save(nib.Nifti1Image(values.T[:, :, None], np.diag([-0.2, -0.2, 1, 1])), tmp_path / "film.nii.gz")
    itk.imwrite(itk.image_from_array(values), str(tmp_path / "film.mha"))
    films = [LoadFilmd()({"image": str(tmp_path / name)}) for name in ("film.png", "film.nii.gz", "film.mha")]
    batch = list_data_collate(films)
    assert batch["image"].shape == (3, 1, 30, 20)
    for film, read in zip(films, decollate_batch(batch), strict=True):
        assert film["image"].affine.shape == (4, 4)
        assert torch.equal(read["image"].affine, film["image"].affine)
        assert read["image"].meta["filename_or_obj"] == film["image"].meta["filename_or_obj"]
        assert set(film["image"].meta) == set(films[0]["image"].meta)
