"""DICOM's header decides how bright a pixel is, as pydicom's functions say; what is cut or odd is refused."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels import apply_modality_lut, apply_voi
from pydicom.uid import (
    BasicTextSRStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    ParametricMapStorage,
    RLELossless,
)

from doll_monai.data.dicom import copy_for_itk, open_dicom
from doll_monai.data.readers import read_image
from doll_monai.utils.errors import InputError
from image_encodings import ENCODINGS, PATIENT, dicom

PHOTOMETRIC, SHAPE, HIGH_BIT, STORED = (0x28, 0x04), (0x2050, 0x20), (0x28, 0x102), (0x28, 0x101)
ROWS, FRAMES, PADDING, PADDING_LIMIT = (0x28, 0x10), (0x28, 0x08), (0x28, 0x120), (0x28, 0x121)
SLOPE, INTERCEPT, MODALITY, VOI = (0x28, 0x1053), (0x28, 0x1052), (0x28, 0x3000), (0x28, 0x3010)
ONE, INVERSE = {PHOTOMETRIC: ("CS", "MONOCHROME1")}, {SHAPE: ("CS", "INVERSE")}


@pytest.fixture
def stored() -> np.ndarray:
    """Values of 12 bits, (H, W)."""
    return np.random.default_rng(0).integers(0, 4096, (16, 24), dtype=np.uint16)


def _read(path: Path, content: bytes) -> np.ndarray:
    """(H, W)."""
    path.write_bytes(content)
    values, _ = read_image(path)
    return values[0].T


def _table(entries: np.ndarray, first: int = 0, kind: str = "US", told: int = 0) -> tuple[str, list[Dataset]]:
    item = Dataset()
    item.add_new((0x28, 0x3002), kind, [told or len(entries), first, 16])
    item.add_new((0x28, 0x3006), "OW", entries.astype("<u2").tobytes())
    return "SQ", [item]


FALLING = np.linspace(60000, 0, 4096)
BENT = 60000 * np.linspace(0, 1, 4096) ** 3
HALF = {SLOPE: ("DS", "0.5"), INTERCEPT: ("DS", "-1024")}


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
@pytest.mark.parametrize(
    ("extra", "inverted"),
    [
        (HALF, False),
        ({SLOPE: ("DS", "-1"), INTERCEPT: ("DS", "4095")}, False),
        ({MODALITY: _table(FALLING)}, False),
        ({MODALITY: _table(BENT)}, False),
        ({MODALITY: _table(BENT[:4000], first=90)}, False),
        ({MODALITY: _table(FALLING), **ONE}, True),
        ({VOI: _table(FALLING)}, False),
        ({VOI: _table(FALLING[:1000], first=200), **HALF}, False),
        ({VOI: _table(FALLING), **ONE}, True),
        (INVERSE, True),
        (ONE, True),
        ({PHOTOMETRIC: ("CS", "monochrome1")}, True),
        ({**ONE, **INVERSE}, True),
        ({SHAPE: ("CS", "IDENTITY")}, False),
    ],
)
def test_what_changes_order_or_polarity_is_applied(extra, inverted: bool, syntax, stored, tmp_path: Path) -> None:
    content = dicom(stored, extra, syntax)
    dataset = pydicom.dcmread(io.BytesIO(content))
    expected = apply_modality_lut(stored.astype(np.int32), dataset)
    if VOI in extra:
        expected = apply_voi(np.rint(expected).astype(np.int32), dataset)
    if inverted:
        expected = expected.max() - expected.astype(float) + expected.min()
    assert np.array_equal(_read(tmp_path / "image.dcm", content), expected.astype(np.float32))


def test_a_window_and_a_voi_lut_that_keeps_the_order_are_left_alone(stored, tmp_path: Path) -> None:
    window = {(0x28, 0x1050): ("DS", "700"), (0x28, 0x1051): ("DS", "90")}
    for extra in ({VOI: _table(BENT)}, window):
        assert np.array_equal(_read(tmp_path / "image.dcm", dicom(stored, extra)), stored)


def test_a_table_that_begins_at_a_negative_number_written_without_sign(stored, tmp_path: Path) -> None:
    signed = (stored.astype(np.int16) - 2048).astype(np.int16)
    for first, kind in ((-2048, "SS"), (2**16 - 2048, "US")):
        read = _read(tmp_path / "image.dcm", dicom(signed, {MODALITY: _table(FALLING, first, kind)}))
        assert np.array_equal(read, FALLING.astype(np.uint16)[stored])


def test_only_the_stored_bits_count(stored, tmp_path: Path) -> None:
    high = {HIGH_BIT: ("US", 15)}
    assert np.array_equal(_read(tmp_path / "image.dcm", dicom(stored << 4, high)), stored)
    overlay = (stored % 7 == 0).astype(np.uint16) << 13
    assert np.array_equal(_read(tmp_path / "image.dcm", dicom(stored | overlay)), stored)
    negative = stored.astype(np.int16) - 2048
    twelve = {STORED: ("US", 12), HIGH_BIT: ("US", 11)}
    assert np.array_equal(_read(tmp_path / "image.dcm", dicom(negative & 0x0FFF, twelve)), negative)


@pytest.mark.parametrize("extra", [{}, HALF, ONE, {**ONE, **HALF}, {MODALITY: _table(FALLING)}])
@pytest.mark.parametrize("level", [0, 4000, 4095])
def test_padding_gets_the_darkest_other_value(extra, level: int, stored, tmp_path: Path) -> None:
    inside = 1000 + stored % 2000
    plain = _read(tmp_path / "image.dcm", dicom(inside, extra))
    outside = np.hypot(*(np.indices(stored.shape) - np.array([[[8]], [[12]]]))) > 8
    padded = np.where(outside, level, inside).astype(np.uint16)
    read = _read(tmp_path / "image.dcm", dicom(padded, {**extra, PADDING: ("US", level)}))
    kept, expected = read[~outside], plain[~outside]
    assert np.array_equal(kept - kept.min(), expected - expected.min())
    assert (read[outside] == kept.min()).all()


def test_padding_may_be_a_range_and_negative(stored, tmp_path: Path) -> None:
    pixels = (stored % 2000).astype(np.int16)
    pixels[:4], pixels[4:6] = -2000, -1990
    for kind, wrap in (("SS", 0), ("US", 2**16)):
        extra = {PADDING: (kind, wrap - 2000), PADDING_LIMIT: (kind, wrap - 1990)}
        read = _read(tmp_path / "image.dcm", dicom(pixels, extra))
        assert np.array_equal(read, np.where(pixels < 0, pixels[pixels >= 0].min(), pixels))


@pytest.mark.parametrize(("value", "dtype"), [(63536, np.uint16), (-32768, np.int16)])
def test_padding_may_have_more_bits_than_are_stored(value: int, dtype: type, stored, tmp_path: Path) -> None:
    """Its stored bits are those of a gray in the middle, which stays as it is elsewhere."""
    pixels = stored.astype(dtype) - (2048 if value < 0 else 0)
    pixels[:4], pixels[5] = value, np.array(value) % 4096
    extra = {PADDING: ("SS" if value < 0 else "US", value), STORED: ("US", 12), HIGH_BIT: ("US", 11)}
    read = _read(tmp_path / "image.dcm", dicom(pixels, extra))
    assert np.array_equal(read[4:], pixels[4:])
    assert (read[:4] == pixels[4:].min()).all()


def test_bits_and_bytes_in_pairs_of_the_other_order(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 2, (16, 24), dtype=np.uint8)
    one = {(0x28, 0x100): ("US", 1), STORED: ("US", 1), HIGH_BIT: ("US", 0)}
    for expected, extra in ((values, one), (values * 200, {})):
        packed = np.packbits(expected, bitorder="little") if extra else expected
        dataset = pydicom.dcmread(io.BytesIO(dicom(expected, extra)))
        dataset["PixelData"].VR, dataset.PixelData = "OW", packed.view("u2").byteswap().tobytes()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
        content = io.BytesIO()
        pydicom.dcmwrite(content, dataset, implicit_vr=False, little_endian=False, force_encoding=True)
        assert np.array_equal(_read(tmp_path / "image.dcm", content.getvalue()), expected)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
@pytest.mark.parametrize(
    ("rows", "sentence"), [(1, "816 bytes"), (-10, "288 bytes of pixels instead of 768"), (3, "912 bytes")]
)
def test_pixels_that_do_not_fill_the_image_are_refused(rows: int, sentence: str, syntax, stored, tmp_path) -> None:
    """The element's length is right; what is missing was memory of the image read before."""
    pixels = np.resize(stored, (16 + rows, 24))
    with pytest.raises(InputError, match=rf"image\.dcm cannot be read \(it has {sentence}"):
        _read(tmp_path / "image.dcm", dicom(pixels, {ROWS: ("US", 16)}, syntax))


def test_pixels_in_parts_that_are_said_to_be_whole_are_refused(stored, tmp_path: Path) -> None:
    """Their bytes, heads of the parts among them, are 16 more than those of the pixels."""
    dataset = pydicom.dcmread(io.BytesIO(dicom(stored)))
    dataset.PixelData = encapsulate([stored.tobytes()])
    dataset.save_as(tmp_path / "image.dcm")
    with pytest.raises(InputError, match=r"it has 7\d\d bytes of pixels instead of 768"):
        read_image(tmp_path / "image.dcm")


@pytest.mark.parametrize("name", ["jpeg.dcm", "jpeg2000.dcm"])
def test_a_compressed_image_of_another_size_or_without_end_is_refused(name: str, tmp_path: Path) -> None:
    ENCODINGS[name](np.random.default_rng(0).integers(0, 256, (40, 30), dtype=np.uint8), tmp_path / name)
    dataset = pydicom.dcmread(tmp_path / name)
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    for rows, kept, sentence in ((50, None, "are of 30 x 40 instead of 30 x 50"), (40, -100, "are cut off")):
        dataset.Rows, dataset.PixelData = rows, encapsulate([frame[:kept]])
        content = io.BytesIO()
        dataset.save_as(content)
        with pytest.raises(InputError, match=rf"cannot be read \(its compressed pixels {sentence}"):
            _read(tmp_path / name, content.getvalue())


WAVES = (np.add.outer(np.sin(np.arange(60) / 9), np.cos(np.arange(44) / 7)) * 60 + 125).astype(np.uint8)
COLORS = np.stack([WAVES, 255 - WAVES, np.roll(WAVES, 20)], axis=-1)


def _encoded(pixels: np.ndarray, **options: Any) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, **options)
    return content.getvalue()


def _compressed(pixels: np.ndarray, syntax: str, parts: list[bytes], **tags: Any) -> bytes:
    """What a header and an encoder's bytes make."""
    dataset = pydicom.dcmread(io.BytesIO(dicom(pixels)))
    dataset.update(tags)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate(parts)
    dataset["PixelData"].is_undefined_length = True
    content = io.BytesIO()
    dataset.save_as(content)
    return content.getvalue()


JPEG, DEEP = _encoded(WAVES, format="JPEG"), WAVES.astype(np.uint16) * 16
JPEG_2000, JPEG_2000_DEEP = (_encoded(pixels, format="JPEG2000", no_jp2=True) for pixels in (WAVES, DEEP))
CUT = JPEG[: int(0.8 * len(JPEG))] + b"\xff\xd9"
MISSTATED = r"its compressed pixels have {} values of {} bits, its header names {} of {} up to number {}"


@pytest.mark.parametrize(
    ("pixels", "syntax", "parts", "tags", "sentence"),
    [
        (WAVES, JPEGBaseline8Bit, [_encoded(COLORS, format="JPEG")], {}, MISSTATED.format(3, 8, 1, 8, 7)),
        (WAVES, JPEG2000Lossless, [_encoded(COLORS, format="JPEG2000")], {}, MISSTATED.format(3, 8, 1, 8, 7)),
        (COLORS, JPEGBaseline8Bit, [JPEG], {}, MISSTATED.format(1, 8, 3, 8, 7)),
        (WAVES, JPEG2000Lossless, [JPEG_2000_DEEP], {}, MISSTATED.format(1, 16, 1, 8, 7)),
        (DEEP, JPEG2000Lossless, [JPEG_2000_DEEP], {"HighBit": 15}, MISSTATED.format(1, 16, 1, 12, 15)),
        (DEEP, JPEG2000Lossless, [JPEG_2000_DEEP], {"BitsStored": 9, "HighBit": 8}, "have values of more than 9 bits"),
        (WAVES, JPEGBaseline8Bit, [JPEG, JPEG], {}, "its compressed pixels are of several frames"),
        (WAVES, JPEG2000Lossless, [JPEG_2000, JPEG_2000], {}, "its compressed pixels are of several frames"),
        (WAVES, JPEGBaseline8Bit, [CUT], {}, "its compressed pixels are cut off"),
    ],
)
def test_compressed_pixels_that_the_header_contradicts_are_refused(
    pixels, syntax: str, parts, tags, sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=rf"image\.dcm cannot be read \(.*{sentence}\)"):
        _read(tmp_path / "image.dcm", _compressed(pixels, syntax, parts, **tags))


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL", "YBR_FULL_422"])
@pytest.mark.parametrize(
    ("syntax", "stream"),
    [
        (JPEGBaseline8Bit, _encoded(COLORS, format="JPEG", quality=100, subsampling=0)),
        (JPEGBaseline8Bit, _encoded(COLORS, format="JPEG", quality=100, keep_rgb=True)),
        (JPEG2000Lossless, _encoded(COLORS, format="JPEG2000", no_jp2=True, mct=1)),
    ],
)
def test_compressed_colors_are_what_their_own_header_says(syntax: str, stream: bytes, photometric, tmp_path) -> None:
    (tmp_path / "image.dcm").write_bytes(_compressed(COLORS, syntax, [stream], PhotometricInterpretation=photometric))
    np.testing.assert_allclose(read_image(tmp_path / "image.dcm")[0].T, COLORS, atol=4)


@pytest.mark.parametrize("last", [127, 128, 129])
def test_a_jpeg_may_end_in_the_gray_of_what_is_missing(last: int, tmp_path: Path) -> None:
    pixels = np.where(np.arange(60)[:, None] > 30, last, WAVES).astype(np.uint8)
    content = _compressed(pixels, JPEGBaseline8Bit, [_encoded(pixels, format="JPEG", quality=100)])
    np.testing.assert_allclose(_read(tmp_path / "image.dcm", content), pixels, atol=3)


@pytest.mark.parametrize("size", ["Rows", "Columns"])
def test_pixels_in_run_lengths_that_are_too_many_are_refused(size: str, stored, tmp_path: Path) -> None:
    dataset = pydicom.dcmread(io.BytesIO(dicom(stored)))
    dataset.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    for less in (0, 1):
        dataset[size].value -= less
        dataset.save_as(tmp_path / "image.dcm")
        if not less:
            assert np.array_equal(read_image(tmp_path / "image.dcm")[0][0].T, stored)
    with pytest.raises(InputError, match=r"image\.dcm cannot be read \("):
        read_image(tmp_path / "image.dcm")


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [
        ({PHOTOMETRIC: ("CS", "RGB")}, "its header names 1 values a pixel for RGB"),
        ({PHOTOMETRIC: ("CS", "ARGB")}, "its header names 1 values a pixel for ARGB"),
        ({(0x28, 0x02): ("US", 3)}, "its header names 3 values a pixel for MONOCHROME2"),
        ({HIGH_BIT: ("US", 10)}, "its header names 12 bits up to number 10 of 16"),
        ({ROWS: ("US", 0)}, "it is no two-dimensional image but 24 x 0"),
        ({ROWS: ("US", None)}, "its header has no Rows"),
        ({FRAMES: ("IS", 15)}, "it is no two-dimensional image but 24 x 16 x 15"),
        ({SLOPE: ("DS", "0")}, "its rescale slope is 0"),
        ({PADDING: ("US", 0), PADDING_LIMIT: ("US", 4095)}, "its pixels are padding alone"),
        ({VOI: _table(FALLING[:9], told=4096)}, "a look-up table of it is cut off"),
    ],
)
def test_a_header_that_contradicts_itself_is_refused(extra, sentence: str, stored, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"cannot be read \({sentence}\); replace it"):
        _read(tmp_path / "image.dcm", dicom(stored, extra))


def test_dicom_without_pixels_of_integers_says_what_it_is(stored, tmp_path: Path) -> None:
    for kind, name in ((BasicTextSRStorage, "Basic Text SR Storage"), (ParametricMapStorage, "Parametric Map Storage")):
        dataset = pydicom.dcmread(io.BytesIO(dicom(stored, {(0x08, 0x16): ("UI", kind)})))
        del dataset.PixelData
        if kind == ParametricMapStorage:
            dataset.add_new((0x7FE0, 0x08), "OF", stored.astype("<f4").tobytes())
        content = io.BytesIO()
        dataset.save_as(content)
        with pytest.raises(InputError, match=rf"\(it has no pixels of integers, being {name}\)"):
            _read(tmp_path / "image.dcm", content.getvalue())


@pytest.mark.parametrize("name", ["plain.dcm", "inverted.dcm"])
def test_what_itk_gets_has_nothing_of_the_patient(name: str, tmp_path: Path) -> None:
    ENCODINGS[name](np.zeros((8, 8), np.uint8), tmp_path / name)
    with copy_for_itk(open_dicom(str(tmp_path / name))) as copy:
        content = Path(copy).read_bytes()
    assert not any(value.encode() in content for _, value in PATIENT.values())
    assert not Path(copy).exists()
