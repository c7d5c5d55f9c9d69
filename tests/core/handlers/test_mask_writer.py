"""A mask lies on its image, in every program that opens both; and each image has a mask of its own."""

from __future__ import annotations

from pathlib import Path

import itk
import nibabel as nib
import numpy as np
import pytest
from monai.transforms import Resized
from PIL import Image

from doll_monai.data.image_files import stem
from doll_monai.data.label_files import write_label
from doll_monai.handlers import MaskWriter, OverlayWriter
from doll_monai.transforms.reading import LoadLabeld, LoadRadiographd
from doll_monai.utils.errors import InputError
from image_encodings import dicom
from segmented import engine_of, segment

HEIGHT, WIDTH = 40, 30
CORONAL = {
    (0x0020, 0x0032): ("DS", ["-150", "20", "170"]),
    (0x0020, 0x0037): ("DS", ["1", "0", "0", "0", "0", "-1"]),
}


@pytest.fixture
def gray() -> np.ndarray:
    """Bright in the upper left quarter, as a viewer shows it."""
    gray = np.random.default_rng(0).integers(0, 60, (HEIGHT, WIDTH), dtype=np.uint8)
    gray[: HEIGHT // 2, : WIDTH // 2] += 150
    return gray


def _place(path: Path) -> list[np.ndarray]:
    """Direction, origin and spacing as ITK reads them, of the first two axes."""
    image = itk.imread(str(path))
    parts = (np.asarray(image.GetDirection()).T, np.asarray(image.GetOrigin()), np.asarray(image.GetSpacing()))
    axes = 3 if len(parts[1]) > 3 else len(parts[1])
    return [parts[0][:2, :axes], parts[1][:axes], parts[2][:2]]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.png", {}),
        ("a.png", {"dpi": (100, 50)}),
        ("a.jpg", {"quality": 95}),
        ("a.jpg", {"quality": 95, "dpi": (100, 50)}),
        ("a.tif", {"tiffinfo": {282: 100.0, 283: 50.0, 296: 3}}),
        ("a.tif", {"tiffinfo": {282: 100.0, 283: 50.0, 296: 1}}),
        ("a.bmp", {"dpi": (100, 50)}),
    ],
)
def test_a_mask_opens_on_its_picture(name: str, options: dict, gray: np.ndarray, tmp_path: Path) -> None:
    Image.fromarray(gray).save(tmp_path / name, **options)
    segment(tmp_path / name, tmp_path / "masks")
    picture, mask = _place(tmp_path / name), _place(tmp_path / "masks" / "a_lungs.nii.gz")
    for expected, found in zip(picture, mask, strict=True):
        np.testing.assert_allclose(found[..., : expected.shape[-1]], expected, atol=1e-6)
    seen = itk.array_from_image(itk.imread(str(tmp_path / "masks" / "a_lungs.nii.gz")))
    assert seen[3 : HEIGHT // 2 - 3, 3 : WIDTH // 2 - 3].all()
    assert not seen[HEIGHT // 2 + 3 :].any()


@pytest.mark.parametrize("name", ["coronal.dcm", "coronal.nii.gz"])
def test_a_coronal_image_has_a_mask_at_its_place(name: str, gray: np.ndarray, tmp_path: Path) -> None:
    affine = np.array([[-0.2, 0, 0, 150], [0, 0, 1, -20], [0, -0.3, 0, 170], [0, 0, 0, 1.0]])
    if name.endswith(".dcm"):
        (tmp_path / name).write_bytes(dicom(gray, CORONAL))
    else:
        nib.save(nib.Nifti1Image(gray.T[:, :, None], affine), tmp_path / name)
    mask = segment(tmp_path / name, tmp_path / "masks")
    np.testing.assert_allclose(mask.affine[:, [0, 1, 3]], affine[:, [0, 1, 3]], atol=1e-5)
    assert mask.shape == (WIDTH, HEIGHT, 1)
    for expected, found in zip(
        _place(tmp_path / name), _place(tmp_path / "masks" / "coronal_lungs.nii.gz"), strict=True
    ):
        np.testing.assert_allclose(found, expected, atol=1e-5)
    assert mask.dataobj[3 : WIDTH // 2 - 3, 3 : HEIGHT // 2 - 3].all()


DOWN = {"coronal": (0, 0, -1), "transverse": (0, -1, 0)}
"""Where the rows of an upright image go: down, or to the back; its columns go to the patient's left."""


@pytest.mark.parametrize("plane", DOWN)
@pytest.mark.parametrize("turn", range(8))
def test_a_nifti_in_any_orientation_is_seen_upright_and_its_mask_lies_on_the_file(
    turn: int, plane: str, gray: np.ndarray, tmp_path: Path
) -> None:
    """All eight ways to store an upright image, (W, H), the affine by hand from where each stored axis goes."""
    across, down = np.array([-0.2, 0, 0]), 0.3 * np.array(DOWN[plane])
    stored, axes = gray.T, [across, down]
    if turn & 1:
        stored, axes[0] = stored[::-1], -axes[0]
    if turn & 2:
        stored, axes[1] = stored[:, ::-1], -axes[1]
    if turn & 4:
        stored, axes = stored.T, axes[::-1]
    affine = np.eye(4)
    affine[:3, :3] = np.stack([*axes, np.cross(*axes)], axis=1)
    nib.save(nib.Nifti1Image(stored[:, :, None], affine), tmp_path / "a.nii.gz")
    seen = LoadRadiographd()({"image": tmp_path / "a.nii.gz"})["image"]
    assert np.array_equal(seen[0].numpy().T, gray)
    np.testing.assert_allclose(seen.affine[:3, :2].numpy().T, [across, down], atol=1e-6)
    mask = segment(tmp_path / "a.nii.gz", tmp_path / "masks")
    assert mask.shape == (*stored.shape, 1)
    np.testing.assert_allclose(mask.affine, affine, atol=1e-6)
    upright = np.asarray(mask.dataobj)[:, :, 0]
    upright = upright.T if turn & 4 else upright
    upright = upright[:: -1 if turn & 1 else 1, :: -1 if turn & 2 else 1]
    assert upright[3 : WIDTH // 2 - 3, 3 : HEIGHT // 2 - 3].all()
    assert not upright[WIDTH // 2 + 3 :].any()
    assert not upright[:, HEIGHT // 2 + 3 :].any()


@pytest.mark.parametrize(("codes", "affine"), [((0, 0), np.diag([0.2, 0.3, 1, 1])), ((2, 0), np.eye(4))])
def test_a_nifti_that_says_nothing_is_seen_as_it_is_stored(codes, affine, gray: np.ndarray, tmp_path: Path) -> None:
    image = nib.Nifti1Image(gray.T, affine)
    image.set_sform(affine, codes[0])
    image.set_qform(affine, codes[1])
    nib.save(image, tmp_path / "a.nii")
    assert np.array_equal(LoadRadiographd()({"image": tmp_path / "a.nii"})["image"][0].numpy().T, gray)
    mask = segment(tmp_path / "a.nii", tmp_path / "masks")
    assert mask.dataobj[3 : WIDTH // 2 - 3, 3 : HEIGHT // 2 - 3].all()
    label = LoadLabeld()({"label": tmp_path / "masks" / "a_lungs.nii.gz"})["label"]
    assert np.array_equal(label[0], np.asarray(mask.dataobj))


@pytest.mark.parametrize("codes", [(0, 0), (0, 1), (1, 0), (2, 1), (4, 4)])
@pytest.mark.parametrize("shape", [(WIDTH, HEIGHT), (WIDTH, HEIGHT, 1)])
def test_a_nifti_and_its_mask_say_the_same_of_their_place(codes, shape, gray: np.ndarray, tmp_path: Path) -> None:
    depth = len(shape) - 1.0
    image = nib.Nifti1Image(gray.T.reshape(shape), np.diag([-0.2, 0.3, depth, 1]))
    image.set_qform(np.diag([0.2, 0.3, depth, 1]), codes[1])
    image.set_sform(np.diag([-0.2, 0.3, depth, 1]), codes[0])
    nib.save(image, tmp_path / "a.nii")
    mask = segment(tmp_path / "a.nii", tmp_path / "masks").header
    assert mask.get_data_shape() == shape
    for place in ("get_sform", "get_qform"):
        for found, expected in zip(
            getattr(mask, place)(coded=True), getattr(image.header, place)(coded=True), strict=True
        ):
            assert (found is None and expected is None) or np.allclose(found, expected)
    for expected, found in zip(_place(tmp_path / "a.nii"), _place(tmp_path / "masks" / "a_lungs.nii.gz"), strict=True):
        np.testing.assert_allclose(found[..., : expected.shape[-1]], expected[..., : found.shape[-1]], atol=1e-6)


@pytest.mark.parametrize("names", [("a.png", "a.jpg"), ("b/a.PNG", "b/a.nii.gz"), ("1.2.840.4711.dcm", "1.2.840.4711")])
@pytest.mark.parametrize("writer", [MaskWriter, OverlayWriter])
def test_images_of_one_name_are_refused_before_anything_runs(writer, names, tmp_path: Path) -> None:
    images = [str(tmp_path / name) for name in names]
    engine = engine_of(images, [])
    writer(tmp_path / "out", tmp_path, ["lungs"]).attach(engine)
    with pytest.raises(InputError, match=rf"{names[0]} and .*{names[1]} would have the same name"):
        engine.run([[{}]])


@pytest.mark.parametrize(("image", "output"), [("a.png", "."), ("sub/a.png", "."), ("sub/a.png", "linked")])
@pytest.mark.parametrize("writer", [MaskWriter, OverlayWriter])
def test_results_among_images_are_refused_before_anything_runs(writer, image: str, output: str, tmp_path: Path) -> None:
    (tmp_path / "linked").symlink_to(tmp_path)
    engine = engine_of([str(tmp_path / image)], [])
    writer(tmp_path / output, tmp_path, "lungs").attach(engine)
    with pytest.raises(InputError, match=r"Results in .* might replace images or their masks; give another output_dir"):
        engine.run([[{}]])


def test_only_an_images_suffix_is_left_out_of_the_name(gray: np.ndarray, tmp_path: Path) -> None:
    names = ("1.2.840.4711", "1.2.840.4712", "dr.smith.dcm", "sub/a.nii.gz")
    assert [stem(name) for name in names] == ["1.2.840.4711", "1.2.840.4712", "dr.smith", "sub/a"]
    images = [tmp_path / name for name in names[:2]]
    for image in images:
        image.write_bytes(dicom(gray))
    batch = [LoadRadiographd()({"image": str(image)}) for image in images]
    for item in batch:
        item["pred"] = item["image"] > 100
    engine = engine_of(list(map(str, images)), batch)
    MaskWriter(tmp_path / "out", tmp_path, "lungs").attach(engine)
    OverlayWriter(tmp_path / "out", tmp_path, ["lungs"]).attach(engine)
    engine.run([batch])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        f"1.2.840.{number}_{ending}" for number in (4711, 4712) for ending in ("lungs.nii.gz", "overlay.png")
    ]


def test_a_label_on_a_coarser_grid_covers_its_picture(gray: np.ndarray, tmp_path: Path) -> None:
    """The corners of a DoLL's first and last pixel, half a pixel out, are those of the image, as ITK places both."""
    Image.fromarray(gray).save(tmp_path / "a.png", dpi=(100, 50))
    image = Resized("image", spatial_size=(WIDTH // 5, HEIGHT // 5))(LoadRadiographd()({"image": tmp_path / "a.png"}))
    write_label(tmp_path / "a.nii.gz", np.zeros((14, WIDTH // 5, HEIGHT // 5)), image["image"].affine.numpy())
    corners = []
    for name, size in (("a.png", (WIDTH, HEIGHT)), ("a.nii.gz", (WIDTH // 5, HEIGHT // 5))):
        direction, origin, spacing = _place(tmp_path / name)
        ends = np.array([[-0.5, -0.5], np.subtract(size, 0.5)]) * spacing
        corners.append(origin[:2] + ends @ direction[:, :2])
    np.testing.assert_allclose(corners[1], corners[0], atol=1e-5)
    np.testing.assert_allclose(corners[0], [[-0.5, -0.5], [WIDTH - 0.5, HEIGHT - 0.5]])
