"""Masks of any kind: what can be meant in one way only is read so, the rest is refused; a label lies on its image."""

from __future__ import annotations

import logging
from pathlib import Path

import itk
import nibabel as nib
import numpy as np
import pytest
from monai.transforms import Compose, Resized
from PIL import Image
from scipy.ndimage import gaussian_filter

from doll_monai.data.label_reader import read_label
from doll_monai.transforms.reading import LoadLabeld, LoadRadiographd
from doll_monai.utils.errors import InputError

SHAPE = (60, 80)
"""Rows and columns."""
AFFINE = np.array([[-0.2, 0, 0, 11], [0, -0.3, 0, 7], [0, 0, 1, 0], [0, 0, 0, 1]])
Y, X = np.mgrid[:60, :80]
MASK = ((X - 30) / 20) ** 2 + ((Y - 22) / 15) ** 2 < 1
OTHER = (X > 55) & (Y > 40)


def nifti(path: Path, values: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    """Values, (H, W) or (H, W, T), as (W, H, 1, T)."""
    nib.save(nib.Nifti1Image(values.swapaxes(0, 1)[:, :, None], affine), path)
    return path


def picture(path: Path, values: np.ndarray, mode: str | None = None, **options: object) -> Path:
    image = Image.fromarray(values)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def read(path: Path) -> np.ndarray:
    """(H, W)."""
    label, _ = read_label(path)
    assert label.dtype == np.uint8
    assert len(label) == 1
    return label[0].T


def layers(*bands: np.ndarray) -> np.ndarray:
    return np.stack(bands, axis=-1)


EIGHT = MASK.astype(np.uint8) * 255
SOFT = gaussian_filter(EIGHT.astype(float), 1)
OPAQUE, WHITE = np.full(SHAPE, 255, np.uint8), np.full(SHAPE, 255, np.uint8)
THIN = np.where((X == 70) & ~MASK, 2, MASK)
CLASSES = (MASK + 2 * OTHER).astype(np.uint8)


@pytest.mark.parametrize("value", [1, 2, 7, 127, 255, 1000, 65535, 0.3, 0.999, 1.0])
@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint16, np.float32, np.float64])
def test_the_only_value_above_0_is_foreground(value: float, dtype: type, tmp_path: Path) -> None:
    values = (MASK * value).astype(dtype)
    assert np.array_equal(read(nifti(tmp_path / "m.nii.gz", values)), MASK & (values.max() > 0))
    if dtype in (np.uint8, np.uint16, np.float32):
        assert np.array_equal(read(picture(tmp_path / "m.tif", values)), MASK & (values.max() > 0))


@pytest.mark.parametrize("scale", [1 / 255, 1, 257])
def test_soft_edges_are_cut_at_half(scale: float, tmp_path: Path) -> None:
    values = (SOFT * scale).astype(np.float32 if scale < 1 else np.uint16)
    expected = values > 127.5 * scale
    assert 0.95 < expected.sum() / MASK.sum() < 1.05
    for path in (nifti(tmp_path / "m.nii.gz", values), picture(tmp_path / "m.tif", values)):
        assert np.array_equal(read(path), expected)


@pytest.mark.parametrize("middle", [100, 200])
def test_one_value_between_background_and_foreground_is_an_edge(middle: int, tmp_path: Path) -> None:
    square = np.zeros(SHAPE, np.uint8)
    square[10:30, 10:50] = 255
    square[10:30, 50] = middle
    assert np.array_equal(read(picture(tmp_path / "m.png", square)), square > 127)


def test_a_jpeg_is_the_mask_that_it_was_made_of(tmp_path: Path) -> None:
    for quality in (50, 95):
        found = read(picture(tmp_path / "m.jpg", EIGHT, quality=quality))
        assert 2 * (found & MASK).sum() / (found.sum() + MASK.sum()) > 0.99
        red = read(picture(tmp_path / "red.jpg", layers(EIGHT, 0 * EIGHT, 0 * EIGHT), quality=quality))
        assert 2 * (red & MASK).sum() / (red.sum() + MASK.sum()) > 0.97


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (CLASSES, "has the values 0, 1, 2, not background and foreground; save each class as a mask of its own"),
        (CLASSES * 100, "has the values 0, 100, 200, not"),
        (np.uint8([0, 1, 255])[CLASSES], "has the values 0, 1, 255, not"),
        (np.uint8([0, 255, 128])[CLASSES], "has the values 0, 128, 255, not"),
        (CLASSES + np.uint8(1), "has the values 1, 2, 3, not"),
        (MASK + np.uint8(1), "has the values 1, 2, not"),
        (np.uint8([128, 255])[MASK * 1], "has the values 128, 255, not"),
        (np.uint8([200, 255])[MASK * 1], "has the values 200, 255, not"),
        (np.uint8([0, 255, 127])[THIN], "has the values 0, 127, 255, not"),
        (np.uint8([0, 100, 200])[THIN], "has the values 0, 100, 200, not"),
        (-MASK.astype(np.float32), "has the values -1, -?0, not"),
        (MASK - 0.5 * OTHER, "has the values -0.5, 0, 1, not"),
        (CLASSES * 1000.0, "has the values 0, 1000, 2000, not"),
        (CLASSES * 1e6, r"has the values 0, 1e\+06, 2e\+06, not"),
    ],
)
def test_numbers_of_classes_are_refused(values: np.ndarray, sentence: str, tmp_path: Path) -> None:
    paths = [nifti(tmp_path / "m.nii.gz", values)]
    if values.dtype == np.uint8:
        paths += [picture(tmp_path / "m.png", values), picture(tmp_path / "m.bmp", values)]
    for path in paths:
        with pytest.raises(InputError, match=rf"^The label .*{path.name} {sentence}"):
            read_label(path)


def test_classes_in_jpeg_and_in_colors_are_refused(tmp_path: Path) -> None:
    jpeg = picture(tmp_path / "m.jpg", CLASSES * 120, quality=80)
    with pytest.raises(InputError, match=r"dark\.jpg is too dark for a mask in JPEG"):
        read_label(picture(tmp_path / "dark.jpg", MASK.astype(np.uint8), quality=98))
    assert not read(picture(tmp_path / "empty.jpg", 0 * EIGHT)).any()
    colors = layers(EIGHT, OTHER.astype(np.uint8) * 255, 0 * EIGHT)
    assert read(picture(tmp_path / "yellow.png", layers(EIGHT, EIGHT, 0 * EIGHT))).sum() == MASK.sum()
    with pytest.raises(InputError, match="not background and foreground"):
        read_label(jpeg)
    for path in (picture(tmp_path / "c.png", colors), picture(tmp_path / "p.png", colors, "P")):
        with pytest.raises(InputError, match="has several colors; save each class as a mask of its own"):
            read_label(path)


@pytest.mark.parametrize("black", [WHITE, 0 * WHITE, 255 - EIGHT])
def test_a_shape_in_the_opacity_alone_is_refused(black: np.ndarray, tmp_path: Path) -> None:
    for values in (layers(black, EIGHT), layers(black, black, black, EIGHT)):
        path = picture(tmp_path / "m.png", values)
        with pytest.raises(InputError, match="has another shape in its opacity than in its colors; save it in gray"):
            read_label(path)
        with pytest.raises(InputError, match="has another shape in its opacity"):
            LoadLabeld("label")({"label": path})


def test_opacity_that_says_the_same_or_nothing_is_left_out(tmp_path: Path) -> None:
    for opacity in (OPAQUE, OPAQUE // 2, EIGHT):
        assert np.array_equal(read(picture(tmp_path / "la.png", layers(EIGHT, opacity))), MASK)
        assert np.array_equal(read(picture(tmp_path / "rgba.png", layers(EIGHT, EIGHT, EIGHT, opacity))), MASK)
    assert np.array_equal(read(picture(tmp_path / "p.png", EIGHT, "P", transparency=0)), MASK)
    assert np.array_equal(read(picture(tmp_path / "m.gif", EIGHT, "P", transparency=0)), MASK)


def test_channels_are_masks_of_their_own(tmp_path: Path) -> None:
    label, _ = read_label(nifti(tmp_path / "m.nii.gz", layers(MASK * 255.0, OTHER * 2.0, 0.0 * MASK)))
    assert np.array_equal(label.transpose(0, 2, 1), [MASK, OTHER, 0 * MASK])


def test_labels_of_findings_keep_what_is_ignored_and_have_no_other_value(tmp_path: Path) -> None:
    values = np.uint8([0, 1, 255])[CLASSES]
    label, _ = read_label(nifti(tmp_path / "m.nii.gz", layers(values, OTHER * np.uint8(255))), ignore=True)
    assert np.array_equal(label.transpose(0, 2, 1), [values, OTHER * 255])
    for wrong in (CLASSES, values.astype(np.float32) + 0.1, values.astype(np.int16) - 1, values.astype(np.int16) * 2):
        with pytest.raises(InputError, match="labels of findings have 0, 1 and 255"):
            read_label(nifti(tmp_path / "m.nii.gz", wrong), ignore=True)


def test_more_than_half_in_the_foreground_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    load = LoadLabeld("label")
    with caplog.at_level(logging.WARNING):
        load({"label": picture(tmp_path / "usual.png", EIGHT)})
        assert not caplog.messages
        for name in ("a.png", "b.png"):
            load({"label": picture(tmp_path / name, 255 - EIGHT)})
    (message,) = caplog.messages
    assert (
        message == f"More than half of the mask {tmp_path / 'a.png'} is foreground; if it is black on white, invert it."
    )


TURNS = [((0, 1), flips) for flips in ((1, 1), (-1, 1), (1, -1), (-1, -1))] + [((1, 0), (1, 1)), ((1, 0), (-1, 1))]


@pytest.mark.parametrize(("axes", "flips"), TURNS)
def test_a_label_is_turned_as_its_image(axes: tuple[int, int], flips: tuple[int, int], tmp_path: Path) -> None:
    """nibabel turns the label; whichever way, it is the same mask on the image's pixels, also in half its size."""
    image = LoadRadiographd()({"image": nifti(tmp_path / "image.nii.gz", MASK.astype(np.float32))})
    on_image = image["image"][0].numpy() > 0.5
    for step in (1, 2):
        values = MASK.repeat(step, axis=0).repeat(step, axis=1).astype(np.uint8)
        affine = AFFINE @ np.array(
            [[1 / step, 0, 0, 0.5 / step - 0.5], [0, 1 / step, 0, 0.5 / step - 0.5], [0, 0, 1, 0], [0, 0, 0, 1]]
        )
        stored = nib.load(nifti(tmp_path / "upright.nii.gz", values, affine))
        orientation = np.array([[axes[0], flips[0]], [axes[1], flips[1]], [2, 1]])
        nib.save(stored.as_reoriented(orientation), tmp_path / "label.nii.gz")
        smaller = Compose([Resized("image", (32, 32), mode="bilinear"), LoadLabeld("label", channels=1)])
        for load in (LoadLabeld("label"), smaller):
            label = load({**image, "label": tmp_path / "label.nii.gz"})["label"][0].numpy()
            assert np.array_equal(label, on_image.repeat(step, axis=0).repeat(step, axis=1))


@pytest.mark.parametrize(
    "change",
    [
        np.array([[1, 0, 0, 20], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]),
        np.diag([2.0, 2.0, 1.0, 1.0]),
        np.diag([-1.0, 1.0, 1.0, 1.0]),
        np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]]),
        np.array([[0.87, -0.5, 0, 0], [0.5, 0.87, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]),
    ],
)
def test_a_label_that_lies_elsewhere_is_refused(change: np.ndarray, tmp_path: Path) -> None:
    image = LoadRadiographd()({"image": nifti(tmp_path / "image.nii.gz", MASK.astype(np.float32))})
    label = nifti(tmp_path / "label.nii.gz", MASK.astype(np.uint8), AFFINE @ change)
    with pytest.raises(InputError, match=r"label\.nii\.gz lies elsewhere than its image.*save it on the image's grid"):
        LoadLabeld("label")({**image, "label": label})


@pytest.mark.parametrize("nothing", [np.eye(4), np.diag([-1.0, -1.0, 1.0, 1.0])])
def test_a_file_without_a_position_lies_on_the_other(nothing: np.ndarray, tmp_path: Path) -> None:
    mask = nifti(tmp_path / "label.nii.gz", MASK.astype(np.uint8), nothing)
    image = LoadRadiographd()({"image": nifti(tmp_path / "image.nii.gz", MASK.astype(np.float32))})
    assert np.array_equal(LoadLabeld("label")({**image, "label": mask})["label"][0], image["image"][0])
    drawn = LoadRadiographd()({"image": picture(tmp_path / "image.png", EIGHT)})
    label = nifti(tmp_path / "label.nii.gz", MASK.astype(np.uint8))
    assert np.array_equal(LoadLabeld("label")({**drawn, "label": label})["label"][0], drawn["image"][0] > 0)


@pytest.mark.parametrize("suffix", ["nii.gz", "nrrd", "mha"])
@pytest.mark.parametrize("image", ["picture", "nifti"])
def test_a_part_of_the_image_is_refused_and_all_of_it_is_not(image: str, suffix: str, tmp_path: Path) -> None:
    """As a viewer of volumes saves a segment: on its own grid, whose first pixel lies within the image."""
    path = tmp_path / ("image.png" if image == "picture" else "image.nii")
    picture(path, EIGHT) if image == "picture" else nifti(path, EIGHT, np.eye(4))
    record = {**LoadRadiographd()({"image": path}), "label": tmp_path / f"label.{suffix}"}
    for start, rows in ((0, 60), (10, 30)):
        part = MASK[start : start + rows, start : start + rows * 4 // 3].astype(np.uint8)
        volume = itk.image_from_array(np.ascontiguousarray(part))
        volume.SetOrigin([start, start])
        itk.imwrite(volume, str(record["label"]))
        if not start:
            assert np.array_equal(LoadLabeld("label")(record)["label"][0], MASK.T)
    with pytest.raises(InputError, match="lies elsewhere than its image"):
        LoadLabeld("label")(record)


@pytest.mark.parametrize(("orientation", "messages"), [(1, 0), (3, 1)])
def test_a_mask_of_a_picture_that_is_turned_is_told_once(
    orientation: int, messages: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = picture(tmp_path / "image.jpg", EIGHT, exif=exif)
    load = LoadLabeld("label")
    with caplog.at_level(logging.WARNING):
        for name in ("a.png", "b.png"):
            load({**LoadRadiographd()({"image": str(image)}), "label": picture(tmp_path / name, EIGHT)})
    expected = f"{image} is turned as its EXIF data say; its masks must be drawn on the turned image."
    assert caplog.messages == [expected] * messages


@pytest.mark.parametrize("suffix", ["png", "nii.gz"])
def test_a_label_of_another_shape_is_refused_and_a_smaller_one_is_not(suffix: str, tmp_path: Path) -> None:
    image = LoadRadiographd()({"image": picture(tmp_path / "image.png", EIGHT)})
    for rows, fits in ((SHAPE[0], True), (SHAPE[0] // 2, False)):
        values = EIGHT[:rows:2, ::2] if fits else EIGHT[:rows]
        path = tmp_path / f"{rows}.{suffix}"
        (picture if suffix == "png" else nifti)(path, values, *([] if suffix == "png" else [np.eye(4)]))
        if fits:
            assert LoadLabeld("label")({**image, "label": path})["label"].shape == (1, 40, 30)
            continue
        with pytest.raises(InputError, match="has 80 x 30 pixels, its image has 80 x 60"):
            LoadLabeld("label")({**image, "label": path})
