"""One image in every encoding in which radiographs come, to try whatever reads them."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import itk
import nibabel as nib
import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian

DEPTH = 16
"""Factor from the image's 8 bits to the 12 that detectors have."""
SPACING = (0.3, 0.2)
"""Distance of rows and of columns in mm, of the encodings that say it."""
Elements = Mapping[tuple[int, int], tuple[str, Any]]
PATIENT: Elements = {
    (0x0008, 0x0020): ("DA", "19710203"),
    (0x0008, 0x0050): ("SH", "ACCESSION77"),
    (0x0008, 0x0080): ("LO", "St Nowhere"),
    (0x0010, 0x0010): ("PN", "Doe^Quentin"),
    (0x0010, 0x0020): ("LO", "ID-4711-X"),
    (0x0010, 0x0030): ("DA", "19330405"),
}
"""What a DICOM file says of the patient: study date, accession number, institution, name, number, birth date."""


def dicom(pixels: np.ndarray, extra: Elements | None = None, syntax: str = ExplicitVRLittleEndian) -> bytes:
    """A computed radiograph as the content of a DICOM file, with a patient's data.

    Args:
        pixels: (H, W) or (H, W, 3), or (frames, H, W) with ``NumberOfFrames`` in ``extra``; ``uint8``, ``uint16`` or
            ``int16``.
        extra: (group, element) to type and value, instead of or beside what the pixels say.
        syntax: transfer syntax, little endian.
    """
    color = pixels.ndim == 3 and pixels.shape[2] == 3
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = ComputedRadiographyImageStorage, "1.2.3.4"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.Modality = "1.2.3", "1.2.3.1", "CR"
    dataset.ImagerPixelSpacing = dataset.PixelSpacing = list(SPACING)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = (3, "RGB") if color else (1, "MONOCHROME2")
    if color:
        dataset.PlanarConfiguration = 0
    dataset.Rows, dataset.Columns = pixels.shape[:2] if color else pixels.shape[-2:]
    dataset.BitsAllocated = 8 * pixels.itemsize
    dataset.BitsStored = 12 if pixels.dtype == np.uint16 else 8 * pixels.itemsize
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.add_new(0x7FE00010, "OW" if pixels.itemsize > 1 else "OB", pixels.tobytes())
    for tag, (kind, value) in {**PATIENT, **(extra or {})}.items():
        dataset.add_new(tag, kind, value)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    content = io.BytesIO()
    dataset.save_as(content, enforce_file_format=True)
    return content.getvalue()


def _deep(grey: np.ndarray) -> np.ndarray:
    return grey.astype(np.uint16) * DEPTH


def _picture(
    grey: np.ndarray, path: Path, stored: Callable = np.array, make: Callable = Image.fromarray, **options: Any
) -> None:
    make(stored(grey)).save(path, **options)


def _turned(grey: np.ndarray, path: Path, orientation: int, stored: Callable) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    pixels = np.ascontiguousarray(stored(grey))
    Image.fromarray(pixels if path.suffix == ".jpg" else _deep(pixels)).save(path, exif=exif, quality=95)


def _mode(grey: np.ndarray, mode: str) -> Image.Image:
    return Image.fromarray(grey).convert(mode)


def _palette(grey: np.ndarray) -> Image.Image:
    """Palette numbers that run against the brightness."""
    picture = Image.fromarray(255 - grey).convert("P")
    picture.putpalette([255 - index for index in range(256) for _ in "rgb"])
    return picture


def _with_opacity(grey: np.ndarray, mode: str) -> Image.Image:
    opacity = np.broadcast_to(np.arange(grey.shape[1]) % 256, grey.shape).astype(np.uint8)
    return Image.fromarray(np.stack([grey, grey, grey, opacity], axis=-1)).convert(mode)


def _dicom(grey: np.ndarray, path: Path, stored: Callable = _deep, **options: Any) -> None:
    path.write_bytes(dicom(stored(grey), **options))


def _compressed_dicom(grey: np.ndarray, path: Path, compression: str) -> None:
    """ITK compresses a file of its own, which then has no patient's data."""
    file = itk.GDCMImageIO.New()
    file.SetCompressionType(getattr(itk.GDCMImageIOEnums, f"Compression_{compression}"))
    itk.imwrite(itk.image_from_array(_deep(grey)), str(path), compression=True, imageio=file)


def _nifti(
    grey: np.ndarray, path: Path, axes: tuple[float, float], shape: tuple[int, ...] = (1,), order: str = "<"
) -> None:
    """Stored such that it is upright where the affine says so: columns to the left, rows to the back."""
    header = nib.Nifti1Header(endianness=order)
    header.set_data_dtype(np.int16)
    affine = np.diag([axes[0] * SPACING[1], axes[1] * SPACING[0], 1.0, 1.0])
    affine[:3, 3] = 10, -20, 30
    stored = grey.T.astype(np.int16)[:: -int(axes[0]), :: -int(axes[1])]
    nib.save(nib.Nifti1Image(stored.reshape(*stored.shape, *shape), affine, header), path)


def _itk(grey: np.ndarray, path: Path, kind: type = np.uint16, turned: bool = False, compression: bool = False) -> None:
    image = itk.image_from_array(_deep(grey).astype(kind))
    image.SetSpacing(SPACING[::-1])
    image.SetOrigin((5.0, -7.0))
    if turned:
        image.SetDirection(np.array([[0.0, -1.0], [1.0, 0.0]]))
    itk.imwrite(image, str(path), compression=compression)


def _deep_color(grey: np.ndarray, path: Path) -> None:
    """Colors of 16 bits, which Pillow does not write."""
    itk.imwrite(itk.image_from_array(np.stack([_deep(grey)] * 3, axis=-1), is_vector=True), str(path))


_INVERTED = {(0x0028, 0x0004): ("CS", "MONOCHROME1")}
_RESCALED = {(0x0028, 0x1052): ("DS", "-1024"), (0x0028, 0x1053): ("DS", "0.5")}
_WINDOW = {(0x0028, 0x1050): ("DS", "700"), (0x0028, 0x1051): ("DS", "90")}
ENCODINGS: dict[str, Callable[[np.ndarray, Path], None]] = {
    "grey.png": _picture,
    "grey16.png": partial(_picture, stored=_deep),
    "color.png": partial(_picture, make=partial(_mode, mode="RGB")),
    "color16.png": _deep_color,
    "palette.png": partial(_picture, make=_palette),
    "opacity.png": partial(_picture, make=partial(_with_opacity, mode="RGBA")),
    "grey_opacity.png": partial(_picture, make=partial(_with_opacity, mode="LA")),
    "turned16.png": partial(_turned, orientation=8, stored=partial(np.rot90, k=-1)),
    "grey.jpg": partial(_picture, quality=95),
    "color.jpg": partial(_picture, make=partial(_mode, mode="RGB"), quality=95, progressive=True),
    "inks.jpg": partial(_picture, make=partial(_mode, mode="CMYK"), quality=95),
    "turned.jpg": partial(_turned, orientation=6, stored=np.rot90),
    "transposed.jpg": partial(_turned, orientation=5, stored=np.transpose),
    "grey.bmp": _picture,
    "grey.tif": _picture,
    "grey16.tif": partial(_picture, stored=_deep),
    "color16.tif": _deep_color,
    "float.tif": partial(_picture, stored=lambda grey: grey.astype(np.float32) / 255),
    "inks.tiff": partial(_picture, make=partial(_mode, mode="CMYK")),
    "packed.tiff": partial(_picture, compression="tiff_lzw"),
    "white_is_zero.tif": partial(_picture, tiffinfo={262: 0}),
    "white_is_zero16.tif": partial(_picture, stored=lambda grey: 65535 - _deep(grey), tiffinfo={262: 0}),
    "turned.tif": partial(_turned, orientation=3, stored=partial(np.rot90, k=2)),
    "plain.dcm": _dicom,
    "inverted.dcm": partial(_dicom, stored=lambda grey: 4095 - _deep(grey), extra=_INVERTED),
    "eight_bits.dcm": partial(_dicom, stored=np.array),
    "eight_bits_inverted.dcm": partial(_dicom, stored=np.invert, extra=_INVERTED),
    "rescaled.dcm": partial(_dicom, extra=_RESCALED),
    "rescaled_inverted.dcm": partial(_dicom, stored=lambda grey: 4095 - _deep(grey), extra={**_INVERTED, **_RESCALED}),
    "window.dcm": partial(_dicom, extra=_WINDOW),
    "signed.dcm": partial(_dicom, stored=lambda grey: grey.astype(np.int16) * DEPTH - 2000),
    "signed_inverted.dcm": partial(_dicom, stored=lambda grey: 2000 - grey.astype(np.int16) * DEPTH, extra=_INVERTED),
    "color.dcm": partial(_dicom, stored=lambda grey: np.stack([grey] * 3, axis=-1)),
    "implicit.dcm": partial(_dicom, syntax=ImplicitVRLittleEndian),
    "jpeg.dcm": partial(_compressed_dicom, compression="JPEG"),
    "jpeg2000.dcm": partial(_compressed_dicom, compression="JPEG2000"),
    "1.2.840.4711": _dicom,
    "grey.nii": partial(_nifti, axes=(-1, -1)),
    "flipped.nii.gz": partial(_nifti, axes=(1, -1)),
    "upright.nii.gz": partial(_nifti, axes=(1, 1), shape=()),
    "big_endian.nii": partial(_nifti, axes=(-1, 1), order=">"),
    "grey.mha": _itk,
    "turned.mha": partial(_itk, kind=np.float64, turned=True),
    "grey.nrrd": partial(_itk, compression=True),
}
"""File name to the function that writes an image, (H, W) ``uint8``, to a path of that type."""
LOSSY = tuple(name for name in ENCODINGS if name.endswith(".jpg"))
"""Encodings that change the grey values a little."""
