"""The pixels of DICOM: brightness as the header defines it, and a refusal of whatever does not fill the image.

pydicom reads the header and the pixels that are not compressed; ITK (GDCM) decodes the others from a copy without a
patient's data. Neither sees pixels before their length, or the size that their own header states, fits the image's: a
decoder that gets too few of them leaves the rest of its memory as it was, with an image read before.
"""

from __future__ import annotations

import math
import struct
import tempfile
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
ITEM, SIZ, END = b"\xfe\xff\x00\xe0", b"\xff\x4f\xff\x51", b"\xff\xd9"
"""The start of a part of compressed pixels, where the size stands in JPEG 2000, and the end of each kind of JPEG."""
NOT_SOF = (0xC4, 0xC8, 0xCC)
"""Markers among those of a JPEG's size, 0xC0 to 0xCF, that are none; JPEG-LS has 0xF7."""


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
def copy_for_itk(dataset: FileDataset) -> Iterator[str]:
    """A DICOM file with the place of an image in space and its pixels, where they are compressed, and nothing else.

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
        copy.PhotometricInterpretation = photometric if dataset.SamplesPerPixel > 1 else "MONOCHROME2"
        copy.PixelData = encapsulate([_stream(dataset)])
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
    """Rows x Columns x Samples x BitsAllocated / 8 x Frames bytes; up to a row more is padding."""
    bits = dataset.Rows * dataset.Columns * dataset.SamplesPerPixel * dataset.BitsAllocated * frames(dataset)
    expected = math.ceil(bits / 8)
    length = len(dataset.PixelData)
    in_parts = length > expected + 1 and dataset.PixelData.startswith(ITEM)  # as if they were compressed
    if in_parts or not expected <= length <= expected + 1 + expected // dataset.Rows:
        raise OSError(f"it has {length} bytes of pixels instead of {expected}")


def _stream(dataset: FileDataset) -> bytes:
    """Compressed pixels whose own header has the image's size and which have an end."""
    place, parts, data = 0, [], dataset.PixelData
    while data[place : place + 4] == ITEM:
        (length,) = struct.unpack_from("<I", data, place + 4)
        parts.append(data[place + 8 : place + 8 + length])
        place += 8 + length
    stream = b"".join(parts[1:])  # the first is a table of offsets
    size, place = (0, 0), 2
    if (start := stream.find(SIZ)) >= 0 and not stream.startswith(b"\xff\xd8"):
        right, bottom, left, top = struct.unpack_from(">4I", stream, start + 8)
        size = bottom - top, right - left
    while size == (0, 0) and place + 9 <= len(stream) and stream[place] == 0xFF:
        marker, length = struct.unpack_from(">BH", stream, place + 1)
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in NOT_SOF):
            size = struct.unpack_from(">2H", stream, place + 5)
        place += 2 + length
    if size != (dataset.Rows, dataset.Columns):
        raise OSError(
            f"its compressed pixels are of {size[1]} x {size[0]} instead of {dataset.Columns} x {dataset.Rows}"
        )
    if not stream.rstrip(b"\0\xff").endswith(END):
        raise OSError("its compressed pixels are cut off")
    return stream


def brightness(dataset: FileDataset, decoded: np.ndarray) -> np.ndarray:
    """Numbers that grow with brightness, (C, W, H), as the header defines it (DICOM PS3.3 C.7.6.3, C.11).

    Modality LUT or slope and intercept are applied, a VOI LUT only where it does not keep the order of values, and
    values are inverted for MONOCHROME1 or the presentation LUT shape INVERSE. Padding gets the darkest other value.

    Args:
        dataset: from ``open_dicom``.
        decoded: (C, W, H), what ITK read from ``copy_for_itk``; used where the pixels are compressed.
    """
    stored = _stored(dataset, decoded)
    if dataset.SamplesPerPixel > 1:
        return stored.T
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        names = [f"{color}PaletteColorLookupTable" for color in ("Red", "Green", "Blue")]
        return np.stack([_look_up(stored, *_table(dataset, dataset, name)).T for name in names])
    values, kept = _modality(dataset, stored), ~_padding(dataset, stored)
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


def _stored(dataset: FileDataset, decoded: np.ndarray) -> np.ndarray:
    """Integers, (H, W) or (H, W, 3)."""
    syntax, allocated = dataset.file_meta.TransferSyntaxUID, dataset.BitsAllocated
    kind = f"{'ui'[dataset.PixelRepresentation]}{allocated // 8}"
    if syntax in COMPRESSED:
        return (decoded[0].T if len(decoded) == 1 else decoded.T).astype(kind)
    if syntax == uid.RLELossless:
        stored = dataset.pixel_array
    else:
        shape = dataset.Rows, dataset.Columns, dataset.SamplesPerPixel
        data = dataset.PixelData
        if _order(dataset) == ">" and allocated == 8 and dataset["PixelData"].VR == "OW":  # in pairs
            data = np.frombuffer(data, "u2").byteswap().tobytes()
        stored = np.frombuffer(data, "u1" if allocated == 1 else _order(dataset) + kind)
        stored = (np.unpackbits(stored, bitorder="little") if allocated == 1 else stored)[: math.prod(shape)]
        by_color = shape[2] > 1 and dataset.get("PlanarConfiguration") == 1
        stored = np.moveaxis(stored.reshape(3, *shape[:2]), 0, -1) if by_color else stored.reshape(shape)
        stored = stored if shape[2] > 1 else stored[..., 0]
    if allocated == 1:
        return stored
    # Overlays may lie beside the bits of a pixel, and the sign is the highest of these.
    return stored << (allocated - 1 - dataset.HighBit) >> (allocated - dataset.BitsStored)


def _order(dataset: FileDataset) -> str:
    return ">" if dataset.file_meta.TransferSyntaxUID == uid.ExplicitVRBigEndian else "<"


def _modality(dataset: FileDataset, stored: np.ndarray) -> np.ndarray:
    if sequence := dataset.get("ModalityLUTSequence"):
        return _look_up(stored, *_table(dataset, sequence[0]))
    slope, intercept = (dataset.get(name) for name in ("RescaleSlope", "RescaleIntercept"))
    if slope == 0:
        raise OSError("its rescale slope is 0")
    return stored * float(1 if slope is None else slope) + float(intercept or 0)


def _padding(dataset: Dataset, stored: np.ndarray) -> np.ndarray:
    padding, limit = (dataset.get(name) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit"))
    if padding is None:
        return np.zeros(stored.shape, bool)
    limits = np.array([padding, padding if limit is None else limit]).astype(stored.dtype)
    return (stored >= limits.min()) & (stored <= limits.max())


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
