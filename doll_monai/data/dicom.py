"""The pixels of DICOM: brightness as the header defines it, and a refusal of whatever does not fill the image.

pydicom reads the header and the pixels that are not compressed; ITK (GDCM) decodes the others from a copy without a
patient's data. Neither sees pixels before their length, or the size that their own header states, fits the image's: a
decoder that gets too few of them leaves the rest of its memory as it was, with an image read before.
"""

from __future__ import annotations

import math
import struct
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import dcmread, uid
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate

NATIVE = (uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian)
COMPRESSED = (*uid.JPEGTransferSyntaxes, *uid.JPEGLSTransferSyntaxes, *uid.JPEG2000TransferSyntaxes)
UNDEFINED_LENGTH, MANY = 0xFFFFFFFF, 2**16
"""The latter is what the number of a look-up table's entries means where it is 0."""
SAMPLES = {"MONOCHROME1": 1, "MONOCHROME2": 1, "PALETTE COLOR": 1}
SAMPLES |= dict.fromkeys(("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"), 3)
"""Photometric interpretations to the values of a pixel."""
NUMBERS = ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")
PLACE = (
    *("SOPClassUID", "PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio"),
    *("ImagePositionPatient", "ImageOrientationPatient", "SpacingBetweenSlices", "SliceThickness"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
)
"""What GDCM takes the place of an image in space from."""
ITEM, SOI, END, SIZ, COD = b"\xfe\xff\x00\xe0", b"\xff\xd8", b"\xff\xd9", b"\xff\x4f\xff\x51", b"\xff\x52"
"""The start of a part of compressed pixels and of a JPEG; a JPEG's end; where JPEG 2000 has its size and its coding."""
SOF = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
"""Markers of a JPEG's size; the one of JPEG-LS is 0xF7."""
MORE = bytes(range(1, 255))
"""Put before the end of a JPEG, it changes nothing unless pixels are missing there."""
MIDDLE = 2.0 ** np.arange(7, 16)
"""What a missing pixel of a JPEG becomes, by the JPEG's bits."""


def open_dicom(path: str) -> FileDataset:
    """The header of a DICOM image, with its pixels as they are stored.

    Raises:
        OSError: when the file is cut off, no DICOM, no image of integers, or one whose header contradicts itself.
    """
    content = Path(path).read_bytes()
    if uid.DeflatedExplicitVRLittleEndian.encode() in content:  # which would be inflated to whatever length
        raise OSError("it is a deflated DICOM file; save it uncompressed")
    try:
        dataset = dcmread(BytesIO(content), force=True)
        kind = dataset.get("SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID")
    except Exception as error:  # of any kind: content that is no DICOM is read as if it were
        raise OSError("it is no DICOM file") from error
    for element in dataset.values():
        if isinstance(element, RawDataElement) and len(element.value or b"") < element.length < UNDEFINED_LENGTH:
            raise OSError("an element of it is longer than the file")
    if "PixelData" not in dataset:
        raise OSError(f"it has no pixels of integers, being {uid.UID(kind).name}" if kind else "it is no DICOM file")
    if "TransferSyntaxUID" not in dataset.file_meta:
        raw: Any = dataset.get_item("PixelData")
        dataset.file_meta.TransferSyntaxUID = NATIVE[0 if raw.is_implicit_VR else 1 if raw.is_little_endian else 2]
    _check_image(dataset)
    return dataset


def _check_image(dataset: FileDataset) -> None:
    for name in NUMBERS:
        if not isinstance(dataset.get(name), int):
            raise OSError(f"its header has no {name}")
    dataset.PhotometricInterpretation = photometric = str(dataset.get("PhotometricInterpretation")).strip().upper()
    if SAMPLES.get(photometric) != dataset.SamplesPerPixel:
        raise OSError(f"its header names {dataset.SamplesPerPixel} values a pixel for {photometric}")
    allocated, stored, high = dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit
    if allocated not in (1, 8, 16, 32) or not 1 <= stored <= high + 1 <= allocated:
        raise OSError(f"its header names {stored} bits up to number {high} of {allocated}")


def frames(dataset: Dataset) -> int:
    return int(dataset.get("NumberOfFrames") or 1)


@contextmanager
def copy_for_itk(dataset: FileDataset, more: bytes = b"") -> Iterator[str]:
    """A DICOM file with the place of an image in space and its pixels, where they are compressed, and nothing else.

    ``more`` is put before the end of compressed pixels.

    Raises:
        OSError: when the pixels are not as many as the header says, or are compressed in a way that is not read.
    """
    syntax = dataset.file_meta.TransferSyntaxUID
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    copy = FileDataset("", Dataset(), bytes(128), meta, is_implicit_VR=False, is_little_endian=True)
    copy.SOPClassUID, copy.SOPInstanceUID = uid.SecondaryCaptureImageStorage, "2.25.1"
    for name in PLACE:
        if dataset.get(name):
            copy.add(dataset[name])
    copy.SamplesPerPixel, copy.PhotometricInterpretation, copy.Rows, copy.Columns = 1, "MONOCHROME2", 2, 2
    copy.BitsAllocated, copy.BitsStored, copy.HighBit, copy.PixelRepresentation = 8, 8, 7, 0
    copy.add_new("PixelData", "OB", bytes(4))
    photometric = dataset.PhotometricInterpretation
    if syntax in COMPRESSED:
        meta.TransferSyntaxUID = syntax
        for name in (*NUMBERS, "PlanarConfiguration"):
            if name in dataset:
                copy.add(dataset[name])
        stream, colors = _stream(dataset)
        copy.PhotometricInterpretation = colors or photometric if dataset.SamplesPerPixel > 1 else "MONOCHROME2"
        copy.PixelData = encapsulate([stream.removesuffix(END) + more + END])
        copy["PixelData"].is_undefined_length = True
    elif syntax in NATIVE and not photometric.startswith("YBR"):
        _check_length(dataset)
    elif syntax != uid.RLELossless or photometric.startswith("YBR") or dataset.HighBit != dataset.BitsStored - 1:
        raise OSError(f"its pixels are stored as {syntax.name} in {photometric}, which is not read")
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "image.dcm")
        copy.save_as(path)
        yield path


def _check_length(dataset: FileDataset) -> None:
    """Rows x Columns x Samples x BitsAllocated / 8 x Frames bytes; one more is padding."""
    bits = dataset.Rows * dataset.Columns * dataset.SamplesPerPixel * dataset.BitsAllocated * frames(dataset)
    expected = math.ceil(bits / 8)
    length = len(dataset.PixelData)
    if length - expected not in (0, 1):
        raise OSError(f"it has {length} bytes of pixels instead of {expected}")


def _stream(dataset: FileDataset) -> tuple[bytes, str]:
    """Compressed pixels whose own header is the image's and which have an end; and what their colors are, if told."""
    place, parts, data = 0, [], dataset.PixelData
    while data[place : place + 4] == ITEM:
        (length,) = struct.unpack_from("<I", data, place + 4)
        parts.append(data[place + 8 : place + 8 + length])
        place += 8 + length
    stream = b"".join(parts[1:]).rstrip(b"\0\xff")  # the first is a table of offsets
    rows, columns, samples, bits, colors = (_of_jpeg if stream.startswith(SOI) else _of_jpeg_2000)(stream)
    if (rows, columns) != (dataset.Rows, dataset.Columns):
        raise OSError(f"its compressed pixels are of {columns} x {rows} instead of {dataset.Columns} x {dataset.Rows}")
    if samples != dataset.SamplesPerPixel or bits > dataset.BitsAllocated or dataset.HighBit != dataset.BitsStored - 1:
        told = f"{dataset.SamplesPerPixel} of {dataset.BitsStored} up to number {dataset.HighBit}"
        raise OSError(f"its compressed pixels have {samples} values of {bits} bits, its header names {told}")
    if not stream.endswith(END):
        raise OSError("its compressed pixels are cut off")
    if any(part.startswith((SOI, SIZ)) for part in parts[2:]):
        raise OSError("its compressed pixels are of several frames")
    return stream, colors


def _of_jpeg(stream: bytes) -> tuple[int, int, int, int, str]:
    """Rows, columns, values of a pixel, their bits, and what the colors are where JFIF's or Adobe's marker tells it."""
    place, marker, told = 2, 0, dict[int, bytes]()
    while marker not in SOF:
        marker, length = struct.unpack_from(">xBH", stream, place)
        told.setdefault(marker, stream[place + 4 : place + 2 + length])
        place += 2 + length
    bits, rows, columns, samples = struct.unpack_from(">B2HB", told[marker])
    transform = b"\1" if told.get(0xE0, b"").startswith(b"JFIF\0") else told.get(0xEE, b"")[11:12]
    return rows, columns, samples, bits, {b"\0": "RGB", b"\1": "YBR_FULL_422"}.get(transform, "")


def _of_jpeg_2000(stream: bytes) -> tuple[int, int, int, int, str]:
    """The same of JPEG 2000, whose header tells whether its colors are transformed."""
    start = stream.index(SIZ)
    right, bottom, left, top, samples, depth = struct.unpack_from(">4I16xHB", stream, start + 8)
    transformed = stream[stream.index(COD, start) + 8]
    return bottom - top, right - left, samples, (depth & 0x7F) + 1, "YBR_RCT" if transformed else ""


def may_be_cut(dataset: FileDataset, decoded: np.ndarray) -> bool:
    """Whether the last pixel of a JPEG, (C, W, H), is one that a decoder puts where pixels are missing."""
    return dataset.file_meta.TransferSyntaxUID in uid.JPEGTransferSyntaxes and abs(decoded[0, -1, -1]) in MIDDLE


def brightness(dataset: FileDataset, decoded: np.ndarray) -> np.ndarray:
    """Numbers that grow with brightness, (C, W, H), as the header defines it (DICOM PS3.3 C.7.6.3, C.11).

    Modality LUT or slope and intercept are applied, a VOI LUT only where it does not keep the order of values, and
    values are inverted for MONOCHROME1 or the presentation LUT shape INVERSE. Padding gets the darkest other value.

    Args:
        dataset: from ``open_dicom``.
        decoded: (C, W, H), what ITK read from ``copy_for_itk``; used where the pixels are compressed.
    """
    cells = _cells(dataset, decoded)
    unused = dataset.BitsAllocated - dataset.BitsStored
    # Overlays may lie beside the bits of a pixel, and the sign is the highest of these.
    stored = cells << (dataset.BitsAllocated - 1 - dataset.HighBit) >> unused
    if dataset.file_meta.TransferSyntaxUID in COMPRESSED and not np.array_equal(stored, cells):
        raise OSError(f"its compressed pixels have values of more than {dataset.BitsStored} bits")
    if dataset.SamplesPerPixel > 1:
        return stored.T
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        names = [f"{color}PaletteColorLookupTable" for color in ("Red", "Green", "Blue")]
        return np.stack([_look_up(stored, *_table(dataset, dataset, name)).T for name in names])
    values, kept = _modality(dataset, stored), ~_padding(dataset, stored, cells)
    if not kept.any():
        raise OSError("its pixels are padding alone")
    for item in (dataset.get("VOILUTSequence") or [])[:1]:
        table, first = _table(dataset, item)
        if (np.diff(table.astype(int)) < 0).any():
            values = _look_up(values, table, first)
    darkest, brightest = values[kept].min(), values[kept].max()
    shape = str(dataset.get("PresentationLUTShape")).strip().upper()
    if dataset.PhotometricInterpretation == "MONOCHROME1" or shape == "INVERSE":
        values = darkest + brightest - values
    return np.where(kept, values, darkest).T[None]


def _cells(dataset: FileDataset, decoded: np.ndarray) -> np.ndarray:
    """Integers of all the bits allocated, (H, W) or (H, W, 3)."""
    syntax, allocated = dataset.file_meta.TransferSyntaxUID, dataset.BitsAllocated
    kind = f"{'ui'[dataset.PixelRepresentation]}{allocated // 8}"
    if syntax in COMPRESSED:
        return (decoded[0].T if len(decoded) == 1 else decoded.T).astype(kind)
    if syntax == uid.RLELossless:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of pixels that the image has no room for
            return dataset.pixel_array
    shape = dataset.Rows, dataset.Columns, dataset.SamplesPerPixel
    data = dataset.PixelData
    if _order(dataset) == ">" and allocated in (1, 8) and dataset["PixelData"].VR == "OW":  # in pairs
        data = np.frombuffer(data, "u2").byteswap().tobytes()
    cells = np.frombuffer(data, "u1" if allocated == 1 else _order(dataset) + kind)
    cells = (np.unpackbits(cells, bitorder="little") if allocated == 1 else cells)[: math.prod(shape)]
    by_color = shape[2] > 1 and dataset.get("PlanarConfiguration") == 1
    cells = np.moveaxis(cells.reshape(3, *shape[:2]), 0, -1) if by_color else cells.reshape(shape)
    return cells if shape[2] > 1 else cells[..., 0]


def _order(dataset: FileDataset) -> str:
    return ">" if dataset.file_meta.TransferSyntaxUID == uid.ExplicitVRBigEndian else "<"


def _modality(dataset: FileDataset, stored: np.ndarray) -> np.ndarray:
    if sequence := dataset.get("ModalityLUTSequence"):
        return _look_up(stored, *_table(dataset, sequence[0]))
    slope, intercept = (dataset.get(name) for name in ("RescaleSlope", "RescaleIntercept"))
    if slope == 0:
        raise OSError("its rescale slope is 0")
    return stored * float(1 if slope is None else slope) + float(intercept or 0)


def _padding(dataset: Dataset, stored: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Where a value is padding, which may have more bits than a pixel's values; then those beside them count too."""
    padding, limit = (dataset.get(name) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit"))
    if padding is None:
        return np.zeros(stored.shape, bool)
    limits = np.array([padding, padding if limit is None else limit]).astype(stored.dtype)
    unused = dataset.BitsAllocated - dataset.BitsStored
    values = stored if np.array_equal(limits << unused >> unused, limits) else cells
    return (values >= limits.min()) & (values <= limits.max())


def _table(dataset: FileDataset, item: Dataset, name: str = "LUT") -> tuple[np.ndarray, int]:
    """The entries of a look-up table, (N,), and the value of the first."""
    if f"{name}Data" not in item:
        raise OSError("a look-up table of it is missing or in segments")
    entries, first, _ = (int(number) for number in item[f"{name}Descriptor"].value)
    entries = entries % MANY or MANY
    data = item[f"{name}Data"].value
    if isinstance(data, bytes):
        data = np.frombuffer(data, f"{_order(dataset)}u2" if len(data) >= 2 * entries else "u1")
    table = np.atleast_1d(np.asarray(data, dtype=np.uint16))[:entries]
    if len(table) < entries:
        raise OSError("a look-up table of it is cut off")
    return table, first


def _look_up(values: np.ndarray, table: np.ndarray, first: int) -> np.ndarray:
    if first > MANY // 2 and first > values.max():  # a negative number, written as one without a sign
        first -= MANY
    return table[np.clip(np.rint(values).astype(np.int64) - first, 0, len(table) - 1)].astype(float)
