"""Reading images of any file type, and labels; a bad file is named."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import itk
import nibabel as nib
import numpy as np
import pytest
import tifffile
import torch
from monai.data import decollate_batch, list_data_collate
from PIL import Image, ImageOps

from doll_monai.data.datalist import find_images
from doll_monai.data.image_files import find_image_files
from doll_monai.data.label_files import write_label
from doll_monai.transforms.reading import ClipBorderd, LoadLabeld, LoadRadiographd, ToGrayd, read_radiograph
from doll_monai.utils.errors import InputError
from image_encodings import ENCODINGS, dicom

HEIGHT, WIDTH = 6, 9
MULTI_FRAME = "1.2.840.10008.5.1.4.1.1.7.2"
SIDE = 2048


@pytest.fixture
def grey() -> np.ndarray:
    grey = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)
    return grey - grey.min()


def _image(path: Path) -> torch.Tensor:
    return ToGrayd("image")(LoadRadiographd("image")({"image": str(path)}))["image"]


def test_colors_are_averaged_with_the_width_first(grey: np.ndarray, tmp_path: Path) -> None:
    Image.fromarray(np.stack([grey, grey // 2, 0 * grey], axis=-1)).save(tmp_path / "image.png")
    image = _image(tmp_path / "image.png")
    assert image.dtype == torch.float32
    expected = (grey.astype(float) + grey // 2) / 3
    np.testing.assert_allclose(image[0].numpy().T, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (np.zeros((8, 8, 5)), r"cannot be read \(it is no two-dimensional image but 8 x 8 x 5\)"),
        (np.zeros((8, 8, 1, 5)), "has 5 values a pixel"),
        (np.full((8, 8), np.nan), r"cannot be read \(it holds values that are no numbers\)"),
    ],
)
def test_volumes_and_values_that_are_no_numbers_are_refused(values, sentence: str, tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(values.astype(np.float32), np.eye(4)), tmp_path / "image.nii.gz")
    with pytest.raises(InputError, match=rf"image\.nii\.gz {sentence}"):
        _image(tmp_path / "image.nii.gz")


def test_the_darkest_is_zero_and_the_brightest_one(grey: np.ndarray, tmp_path: Path) -> None:
    """So that the zeros with which ``Resized`` smooths across the edge are black in every image."""
    for offset in (-1000.0, 7.0):
        nib.save(nib.Nifti1Image(grey.T + np.float32(offset), np.eye(4)), tmp_path / "image.nii")
        image = read_radiograph(tmp_path / "image.nii")
        np.testing.assert_allclose(image[0].numpy().T, grey / grey.max(), rtol=1e-6)


def test_a_picture_is_seen_as_viewers_show_it(grey: np.ndarray, tmp_path: Path) -> None:
    """Pillow turns some TIFFs itself and garbled them when they were opened by name: all eight ways are tried."""
    picture = Image.fromarray(grey)
    exif = Image.Exif()
    for orientation in range(1, 9):
        exif[274] = orientation
        for suffix in ("png", "tif"):
            picture.save(tmp_path / f"image.{suffix}", exif=exif)
        shown = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / "image.png")))
        for suffix in ("png", "tif"):
            assert np.array_equal(_image(tmp_path / f"image.{suffix}")[0].numpy().T, shown), (orientation, suffix)


def test_several_pages_or_frames_are_no_image(grey: np.ndarray, tmp_path: Path) -> None:
    pages = [Image.fromarray(grey), Image.fromarray(255 - grey)]
    for name in ("image.tif", "image.png"):
        pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:])
    frames = {(0x0008, 0x0016): ("UI", MULTI_FRAME), (0x0028, 0x0008): ("IS", "2")}
    (tmp_path / "image.dcm").write_bytes(dicom(np.stack([grey, grey]), frames))
    for name in ("image.tif", "image.png", "image.dcm"):
        with pytest.raises(InputError, match=rf"{name} .*no two-dimensional image but {WIDTH} x {HEIGHT} x 2"):
            _image(tmp_path / name)
    with pytest.raises(InputError, match=r"The image must be one file, not \['a\.png', 'b\.png'\]"):
        LoadRadiographd("image")({"image": ["a.png", "b.png"]})


def test_an_affine_that_is_no_position_is_refused(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.zeros((8, 8), np.float32), np.eye(4)), tmp_path / "image.nii")
    content = (tmp_path / "image.nii").read_bytes()
    (tmp_path / "image.nii").write_bytes(content[:280] + bytes(16) + content[296:])
    with pytest.raises(InputError, match=r"image\.nii cannot be read \(its affine is no position in space\)"):
        _image(tmp_path / "image.nii")


def _claim(name: str, side: int, path: Path) -> None:
    """A small file of 8 x 8 pixels whose header claims a square of another size."""
    ENCODINGS[name](np.arange(64, dtype=np.uint8).reshape(8, 8), path)
    content = path.read_bytes()
    if name.endswith(".png"):
        content = content[:16] + struct.pack(">II", side, side) + content[24:]
        content = content[:29] + struct.pack(">I", zlib.crc32(content[12:29])) + content[33:]
    elif name.endswith(".bmp"):
        content = content[:18] + struct.pack("<II", side, side) + content[26:]
    elif name.endswith(".jpg"):
        start = content.index(b"\xff\xc0")
        content = content[: start + 5] + struct.pack(">HH", side, side) + content[start + 9 :]
    elif name.endswith(".tif"):
        for tag in (256, 257):
            start = content.index(struct.pack("<H", tag), struct.unpack("<I", content[4:8])[0])
            content = content[:start] + struct.pack("<HHII", tag, 4, 1, side) + content[start + 12 :]
    elif name.endswith(".dcm"):
        content = dicom(np.zeros((8, 8), np.uint8), {(0x28, 0x10): ("US", side), (0x28, 0x11): ("US", side)})
    elif name.endswith(".nii"):
        content = content[:42] + struct.pack("<HH", side, side) + content[46:]
    else:
        content = content.replace(b"DimSize = 8 8", b"DimSize = %d %d" % (side, side))
        content = content.replace(b"sizes: 8 8", b"sizes: %d %d" % (side, side))
    path.write_bytes(content)


@pytest.mark.parametrize("side", [10_001, 30_000])
@pytest.mark.parametrize(
    "name", ["grey.png", "grey.jpg", "grey.bmp", "grey.tif", "eight_bits.dcm", "grey.nii", "grey.mha", "grey.nrrd"]
)
def test_an_image_that_claims_to_be_huge_is_refused_before_memory_is_taken(
    name: str, side: int, tmp_path: Path
) -> None:
    resource = pytest.importorskip("resource")
    path = tmp_path / name
    _claim(name, 8, path)
    load = LoadRadiographd()
    assert load({"image": path})["image"].shape == (1, 8, 8)
    _claim(name, side, path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match=r"claims .*100,000,000"):
        load({"image": path})
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_pipe_is_no_image(tmp_path: Path) -> None:
    for name in ("image.png", "image.dcm", "image.nii.gz"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(InputError, match=rf"{name} cannot be read \(it is no file\)"):
            _image(tmp_path / name)
    assert not find_image_files(tmp_path)


def test_a_folder_is_no_image(tmp_path: Path) -> None:
    for name in ("image.png", "image.nii", "image.mha", "image.nrrd", "image.dcm", "image"):
        (tmp_path / name).mkdir()
        with pytest.raises(InputError, match=f"{name} .*(cannot be read|does not exist)"):
            _image(tmp_path / name)


def test_a_dicom_that_claims_long_elements_is_refused(grey: np.ndarray, tmp_path: Path) -> None:
    content = dicom(grey)
    place = content.index(b"UI", content.index(b"\x20\0\x0d\0"))
    damaged_type = content[:place] + b"OB" + content[place + 2 :]  # whose length is the text "1.2."
    place = content.index(b"\xe0\x7f\x10\0OB\0\0") + 8
    long_pixels = content[:place] + struct.pack("<I", 2**30) + content[place + 4 :]
    for damaged in (damaged_type, long_pixels):
        (tmp_path / "image.dcm").write_bytes(damaged)
        with pytest.raises(InputError, match=r"cannot be read \(an element of it is longer than the file\)"):
            _image(tmp_path / "image.dcm")
    (tmp_path / "image.dcm").write_bytes(dicom(grey, syntax="1.2.840.10008.1.2.1.99"))
    with pytest.raises(InputError, match="it is a deflated DICOM file; save it uncompressed"):
        _image(tmp_path / "image.dcm")


def test_a_length_that_reads_as_letters_is_no_type(tmp_path: Path) -> None:
    """The 22,616 bytes of the pixels are 0x5858, "XX", where a file with types has the type."""
    image = np.arange(88 * 257, dtype=np.uint32).reshape(88, 257).astype(np.uint8)
    content = dicom(image, syntax="1.2.840.10008.1.2")
    assert b"\xe0\x7f\x10\0XX\0\0" in content
    (tmp_path / "image.dcm").write_bytes(content)
    assert np.array_equal(_image(tmp_path / "image.dcm")[0].numpy().T, image)


def test_a_meta_image_of_too_many_axes_is_refused(grey: np.ndarray, tmp_path: Path) -> None:
    """ITK ends the process over 299999999 of them."""
    ENCODINGS["grey.mha"](grey, tmp_path / "image.mha")
    content = (tmp_path / "image.mha").read_bytes()
    (tmp_path / "image.mha").write_bytes(content.replace(b"NDims = 2", b"NDims = 299999999"))
    with pytest.raises(InputError, match=r"image\.mha cannot be read \(it claims 299999999 axes\)"):
        _image(tmp_path / "image.mha")


@pytest.mark.parametrize("name", ["grey.mha", "packed.mha", "grey.nrrd", "raw.nrrd"])
@pytest.mark.parametrize("rows", [HEIGHT + 2, HEIGHT - 2])
def test_pixels_of_another_number_of_rows_are_refused(name: str, rows: int, grey: np.ndarray, tmp_path: Path) -> None:
    """ITK fills a compressed MetaImage with whatever was in memory."""
    itk.imwrite(itk.image_from_array(grey), str(tmp_path / name), compression=name in ("packed.mha", "grey.nrrd"))
    assert np.array_equal(_image(tmp_path / name)[0].numpy().T, grey)
    content = (tmp_path / name).read_bytes()
    for key in (b"DimSize = ", b"sizes: "):
        content = content.replace(key + b"%d %d" % grey.T.shape, key + b"%d %d" % (WIDTH, rows))
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"{name} cannot be read \("):
        _image(tmp_path / name)


def test_a_compressed_meta_image_that_is_damaged_is_refused(grey: np.ndarray, tmp_path: Path) -> None:
    itk.imwrite(itk.image_from_array(grey), str(tmp_path / "image.mha"), compression=True)
    content = (tmp_path / "image.mha").read_bytes()
    (tmp_path / "image.mha").write_bytes(content[:-20] + bytes(20))
    with pytest.raises(InputError, match=r"image\.mha cannot be read \("):
        _image(tmp_path / "image.mha")


def test_rows_that_a_picture_lacks_are_not_black(grey: np.ndarray, tmp_path: Path) -> None:
    """Each part of the files is whole and has its right length and checksum."""
    Image.fromarray(grey).save(tmp_path / "image.tif")
    content = (tmp_path / "image.tif").read_bytes()
    rows = content.index(struct.pack("<H", 257), struct.unpack("<I", content[4:8])[0])
    (tmp_path / "image.tif").write_bytes(content[: rows + 8] + struct.pack("<H", 2 * HEIGHT) + content[rows + 10 :])
    header = struct.pack(">IIBBBBB", WIDTH, 2 * HEIGHT, 8, 0, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in grey))
    parts = [(b"IHDR", header), (b"IDAT", pixels), (b"IEND", b"")]
    chunks = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )
    (tmp_path / "image.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    for name in ("image.tif", "image.png"):
        with pytest.raises(InputError, match=rf"{name} cannot be read \("):
            _image(tmp_path / name)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 2}])
@pytest.mark.parametrize("kept", [0.4, 0.7, 0.98])
def test_a_jpeg_that_was_cut_and_ends_is_refused(options, kept: float, tmp_path: Path) -> None:
    waves = np.add.outer(np.sin(np.arange(60) / 9), np.cos(np.arange(90) / 7)) * 60 + 125
    Image.fromarray(waves.astype(np.uint8)).save(tmp_path / "image.jpg", **options)
    np.testing.assert_allclose(_image(tmp_path / "image.jpg")[0].numpy().T, waves, atol=12)
    content = (tmp_path / "image.jpg").read_bytes()
    (tmp_path / "image.jpg").write_bytes(content[: int(kept * len(content))] + b"\xff\xd9")
    with pytest.raises(InputError, match=r"image\.jpg cannot be read \(it is cut off\)"):
        _image(tmp_path / "image.jpg")


@pytest.mark.parametrize("kind", [np.int8, np.uint16, np.int16, np.int32, np.uint32])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_integers_of_tiff_keep_their_sign(kind: type, compression: str | None, tmp_path: Path) -> None:
    limits = np.iinfo(kind)
    values = np.random.default_rng(0).integers(limits.min, limits.max, (HEIGHT, WIDTH), kind, endpoint=True)
    tifffile.imwrite(tmp_path / "image.tif", values, compression=compression)
    assert np.array_equal(_image(tmp_path / "image.tif")[0].numpy().T, values.astype(np.float32))


def test_colors_of_16_bits_are_exact_or_refused(tmp_path: Path) -> None:
    colors = np.random.default_rng(0).integers(0, 2**16, (HEIGHT, WIDTH, 3), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "image.tif", colors, photometric="rgb")
    assert np.array_equal(_image(tmp_path / "image.tif")[0].numpy().T, colors.astype(np.float32).mean(axis=-1))
    tifffile.imwrite(tmp_path / "image.tif", colors.transpose(2, 0, 1), photometric="rgb", planarconfig="separate")
    with pytest.raises(InputError, match=r"image\.tif cannot be read \(its colors of 16 bits are arranged in a way"):
        _image(tmp_path / "image.tif")


def test_a_bitmap_of_five_and_six_bits_a_color_is_read(tmp_path: Path) -> None:
    red, green, blue = np.random.default_rng(0).integers(0, 32, (3, HEIGHT, 8), dtype=np.uint16)
    pixels = (red << 11 | 2 * green << 5 | blue)[::-1].tobytes()
    header = struct.pack("<IiiHHIIiiII", 40, 8, HEIGHT, 1, 16, 3, len(pixels), 0, 0, 0, 0)
    masks = struct.pack("<3I", 0xF800, 0x07E0, 0x001F)
    offset = 14 + len(header + masks)
    (tmp_path / "image.bmp").write_bytes(
        b"BM" + struct.pack("<IHHI", offset + len(pixels), 0, 0, offset) + header + masks + pixels
    )
    expected = (red * 255 // 31 + 2 * green * 255 // 63 + blue * 255 // 31) / 3
    np.testing.assert_allclose(_image(tmp_path / "image.bmp")[0].numpy().T, expected, atol=1)


@pytest.mark.parametrize("level", [0, 65535])
def test_what_is_outside_a_round_collimator_takes_no_contrast(level: int) -> None:
    inside = np.random.default_rng(0).integers(2000, 3000, (120, 90)).astype(np.float32)
    down, across = np.indices(inside.shape)
    for radius in (44, 60):  # less than half the image's width, and corners alone
        round_ = np.hypot(down - 60, across - 45) < radius
        image = torch.from_numpy(np.where(round_, inside, np.float32(level)))[None]
        clipped = ClipBorderd("image")({"image": image})["image"]
        low, high = np.percentile(inside[round_], (1, 99))
        assert (float(clipped.min()), float(clipped.max())) == pytest.approx((low, high))
    air = np.where(
        (down < 30) & (across < 60), np.float32(1900), inside
    )  # as black as the body is dark: part of the image
    assert torch.equal(ClipBorderd("image")({"image": torch.from_numpy(air)[None]})["image"][0], torch.from_numpy(air))


def test_a_border_of_any_kind_is_clipped_and_other_images_are_left_alone() -> None:
    def clip(image: torch.Tensor) -> torch.Tensor:
        return ClipBorderd("image")({"image": image})["image"]

    inside = torch.linspace(100, 200, 40 * 30)[torch.randperm(40 * 30)].reshape(1, 40, 30)
    assert torch.equal(clip(inside), inside)
    for sides in ((5, 5, 5, 5), (0, 0, 3, 0), (0, 7, 0, 0)):
        for level in (0.0, 65535.0):
            framed = torch.nn.functional.pad(inside, sides, value=level)
            clipped = clip(framed)
            assert clipped.shape == framed.shape
            assert float(clipped.min()) == pytest.approx(101, abs=0.1)
            assert float(clipped.max()) == pytest.approx(199, abs=0.1)
    for constant in (torch.zeros(1, 5, 5), torch.nn.functional.pad(torch.ones(1, 1, 1), (2, 2, 2, 2))):
        assert torch.equal(clip(constant), constant)


@pytest.mark.parametrize("load", [LoadRadiographd("image"), LoadLabeld("image")])
@pytest.mark.parametrize("suffix", ["png", "nii.gz"])
@pytest.mark.parametrize(
    ("kept", "sentence"), [(None, "does not exist"), (0.9, "cannot be read"), (0.003, "cannot be read"), (0, "empty")]
)
def test_a_missing_or_damaged_file_is_named(
    load, suffix: str, kept: float | None, sentence: str, tmp_path: Path
) -> None:
    path = tmp_path / f"image.{suffix}"
    if kept is not None:
        values = np.random.default_rng(0).integers(0, 256, (1, 64, 64), dtype=np.uint8)
        write_label(path, values) if suffix == "nii.gz" else Image.fromarray(values[0]).save(path)
        path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(InputError, match=rf"image\.{suffix}.*{sentence}"):
        load({"image": str(path)})


@pytest.mark.parametrize(("dtype", "slope"), [(np.uint8, 1.0), (np.int16, 1.0), (np.float32, 1.0), (np.uint8, 0.5)])
@pytest.mark.parametrize("shape", [(WIDTH, HEIGHT), (WIDTH, HEIGHT, 1), (WIDTH, HEIGHT, 1, 3)])
def test_a_label_file_of_another_program_is_read(shape, dtype, slope: float, tmp_path: Path) -> None:
    stored = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    image = nib.Nifti1Image(stored, np.diag([-2.0, -3.0, 1.0, 1.0]))
    image.header.set_slope_inter(slope, 0.0)
    nib.save(image, tmp_path / "label.nii.gz")
    label = LoadLabeld("label")({"label": tmp_path / "label.nii.gz"})["label"]
    assert label.dtype == torch.uint8
    assert np.array_equal(label.numpy(), np.moveaxis(stored.reshape(WIDTH, HEIGHT, -1), -1, 0))


@pytest.mark.parametrize("foreground", [0, 1, 255])
def test_a_picture_of_a_mask_is_zero_and_one(foreground: int, tmp_path: Path) -> None:
    mask = np.random.default_rng(0).random((HEIGHT, WIDTH)) < 0.5
    Image.fromarray((mask * foreground).astype(np.uint8)).save(tmp_path / "mask.png")
    label = LoadLabeld("label", channels=1)({"label": str(tmp_path / "mask.png")})["label"]
    assert label.dtype == torch.uint8
    assert np.array_equal(label[0].numpy().T, mask & (foreground > 0))


def test_wrong_number_of_channels_is_refused(tmp_path: Path) -> None:
    write_label(tmp_path / "two.nii.gz", np.zeros((2, WIDTH, HEIGHT), np.uint8))
    with pytest.raises(InputError, match=r"two\.nii\.gz has 2 channels instead of 14"):
        LoadLabeld("label", channels=14)({"label": str(tmp_path / "two.nii.gz")})


def test_images_of_several_types_stand_in_one_batch(tmp_path: Path) -> None:
    values = np.arange(20 * 30, dtype=np.int16).reshape(20, 30)
    Image.fromarray(values.astype(np.uint8)).save(tmp_path / "image.png")
    nib.save(nib.Nifti1Image(values.T[:, :, None], np.diag([-0.2, -0.2, 1, 1])), tmp_path / "image.nii.gz")
    itk.imwrite(itk.image_from_array(values), str(tmp_path / "image.mha"))
    images = [LoadRadiographd()({"image": str(tmp_path / name)}) for name in ("image.png", "image.nii.gz", "image.mha")]
    batch = list_data_collate(images)
    assert batch["image"].shape == (3, 1, 30, 20)
    for image, read in zip(images, decollate_batch(batch), strict=True):
        assert image["image"].affine.shape == (4, 4)
        assert torch.equal(read["image"].affine, image["image"].affine)
        assert read["image"].meta["filename_or_obj"] == image["image"].meta["filename_or_obj"]
        assert set(image["image"].meta) == set(images[0]["image"].meta)


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("image.mha", "ObjectType = Image\nNDims = 2\nDimSize = 4 4\nElementType = MET_UCHAR\nElementDataFile = {}\n"),
        ("image.nrrd", "NRRD0004\ntype: uchar\ndimension: 2\nsizes: 4 4\nencoding: raw\ndata file: {}\n\n"),
        ("image.nrrd", "NRRD0004\r\ntype: uchar\r\ndimension: 2\r\nsizes: 4 4\r\nDataFile: {}\r\n\r\n"),
    ],
)
def test_an_image_does_not_show_another_file(name: str, header: str, tmp_path: Path) -> None:
    (tmp_path / "secret.raw").write_bytes(bytes(range(16)))
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / name).write_bytes(header.format("../secret.raw").encode())
    with pytest.raises(InputError, match="no pixels of its own"):
        _image(tmp_path / "images" / name)


def test_a_raw_image_of_jsrt_has_bright_bone_and_a_pixel_of_0_175_mm(tmp_path: Path) -> None:
    """The file's numbers are large in the lungs, which are right of the middle here."""
    raw = np.zeros((SIDE, SIDE), ">u2")
    raw[500:600, 1500:1700] = 4095
    raw[10, 20] = 1000
    raw.tofile(tmp_path / "JPCLN001.IMG")
    assert find_images(tmp_path) == [{"image": str(tmp_path / "JPCLN001.IMG")}]
    image = LoadRadiographd("image")({"image": tmp_path / "JPCLN001.IMG"})["image"]
    assert (image.shape, image.dtype) == ((1, SIDE, SIDE), torch.float32)
    assert (image[0, 1600, 550], image[0, 550, 1600], image[0, 20, 10]) == (0, 4095, 3095)
    assert torch.allclose(image.affine, torch.diag(torch.tensor([-0.175, -0.175, 1, 1], dtype=torch.float64)))


def test_another_raw_image_is_refused(tmp_path: Path) -> None:
    np.zeros((SIDE, SIDE - 1), ">u2").tofile(tmp_path / "short.IMG")
    np.full((SIDE, SIDE), 300, "<u2").tofile(tmp_path / "other.IMG")
    nib.AnalyzeImage(np.zeros((SIDE, SIDE, 1), np.int16), np.eye(4)).to_filename(tmp_path / "analyze.img")
    for name, reason in {
        "short.IMG": "it has 8384512 bytes, a raw image of JSRT 8388608",
        "other.IMG": "it has values above 4095, so it is not of 12 bits or not big-endian",
        "analyze.img": "it is no DICOM file",
    }.items():
        with pytest.raises(InputError, match=rf"{name} cannot be read \({reason}\)"):
            _image(tmp_path / name)
