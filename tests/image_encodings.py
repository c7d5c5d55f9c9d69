"""One image in every encoding in which radiographs come, to try whatever reads them."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import itk
import nibabel as nib
import numpy as np
from PIL import Image
from skimage.io import imsave

DEPTH = 16
"""Factor from the image's 8 bits to the 12 that detectors have."""
SPACING = (0.3, 0.2)
"""Distance of rows and of columns in mm, of the encodings that say it."""
PATIENT = {
    (0x0008, 0x0020): ("DA", "19710203"),
    (0x0008, 0x0050): ("SH", "ACCESSION77"),
    (0x0008, 0x0080): ("LO", "St Nowhere"),
    (0x0010, 0x0010): ("PN", "Doe^Quentin"),
    (0x0010, 0x0020): ("LO", "ID-4711-X"),
    (0x0010, 0x0030): ("DA", "19330405"),
}
"""What a DICOM file says of the patient: study date, accession number, institution, name, number, birth date."""

ORIENTATION = 274
_CR_STORAGE = "1.2.840.10008.5.1.4.1.1.1"
_EXPLICIT, _IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
_LONG = ("OB", "OW", "UN", "SQ")
Elements = Mapping[tuple[int, int], tuple[str, Any]]
Writer = Callable[[np.ndarray, Path], None]


def dicom(pixels: np.ndarray, extra: Elements | None = None, syntax: str = _EXPLICIT) -> bytes:
    """A computed radiograph as the content of a DICOM file, with a patient's data.

    Args:
        pixels: (H, W) or (H, W, 3), or (frames, H, W) with ``NumberOfFrames`` in ``extra``; ``uint8``, ``uint16`` or
            ``int16``.
        extra: (group, element) to type and value, instead of or beside what the pixels say.
        syntax: transfer syntax, explicit or implicit little endian.
    """
    colors = 3 if pixels.ndim == 3 and pixels.shape[2] == 3 else 1
    height, width = pixels.shape[-2:] if colors == 1 else pixels.shape[:2]
    bits = 12 if pixels.dtype == np.uint16 else 8 * pixels.itemsize
    elements: dict[tuple[int, int], tuple[str, Any]] = {
        **PATIENT,
        (0x0008, 0x0016): ("UI", _CR_STORAGE),
        (0x0008, 0x0018): ("UI", "1.2.3.4"),
        (0x0008, 0x0060): ("CS", "CR"),
        (0x0018, 0x1164): ("DS", f"{SPACING[0]}\\{SPACING[1]}"),
        (0x0020, 0x000D): ("UI", "1.2.3"),
        (0x0020, 0x000E): ("UI", "1.2.3.1"),
        (0x0028, 0x0002): ("US", colors),
        (0x0028, 0x0004): ("CS", "MONOCHROME2" if colors == 1 else "RGB"),
        **({(0x0028, 0x0006): ("US", 0)} if colors > 1 else {}),
        (0x0028, 0x0010): ("US", height),
        (0x0028, 0x0011): ("US", width),
        (0x0028, 0x0030): ("DS", f"{SPACING[0]}\\{SPACING[1]}"),
        (0x0028, 0x0100): ("US", 8 * pixels.itemsize),
        (0x0028, 0x0101): ("US", bits),
        (0x0028, 0x0102): ("US", bits - 1),
        (0x0028, 0x0103): ("US", int(pixels.dtype.kind == "i")),
        (0x7FE0, 0x0010): ("OW" if pixels.itemsize > 1 else "OB", pixels.tobytes()),
        **(extra or {}),
    }
    start = {
        (0x0002, 0x0001): ("OB", b"\0\1"),
        (0x0002, 0x0002): elements[0x0008, 0x0016],
        (0x0002, 0x0003): ("UI", "1.2.3.4"),
        (0x0002, 0x0010): ("UI", syntax),
        (0x0002, 0x0012): ("UI", "1.2.3.4.5"),
    }
    head = b"".join(_element(tag, *start[tag], True) for tag in start)
    head = _element((0x0002, 0x0000), "UL", struct.pack("<I", len(head)), True) + head
    body = (_element(tag, *elements[tag], syntax != _IMPLICIT) for tag in sorted(elements))
    return bytes(128) + b"DICM" + head + b"".join(body)


def _element(tag: tuple[int, int], kind: str, value: int | str | bytes, explicit: bool) -> bytes:
    content = struct.pack("<H", value) if isinstance(value, int) else value
    content = content.encode("ascii") if isinstance(content, str) else content
    if len(content) % 2:
        content += b"\0" if kind in ("UI", "OB") else b" "
    if not explicit:
        length = struct.pack("<I", len(content))
    elif kind in _LONG:
        length = kind.encode() + struct.pack("<HI", 0, len(content))
    else:
        length = kind.encode() + struct.pack("<H", len(content))
    return struct.pack("<HH", *tag) + length + content


def _picture(
    grey: np.ndarray, path: Path, make: Callable[[np.ndarray], Image.Image] = Image.fromarray, **options: Any
) -> None:
    make(grey).save(path, **options)


def _turned(grey: np.ndarray, path: Path, orientation: int, stored: Callable, depth: int = 1, **options: Any) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    pixels = np.ascontiguousarray(stored(grey))
    Image.fromarray(pixels if depth == 1 else pixels.astype(np.uint16) * depth).save(path, exif=exif, **options)


def _deep(grey: np.ndarray) -> np.ndarray:
    return grey.astype(np.uint16) * DEPTH


def _palette(grey: np.ndarray) -> Image.Image:
    """Palette numbers that run against the brightness."""
    picture = Image.fromarray(255 - grey).convert("P")
    picture.putpalette([255 - index for index in range(256) for _ in "rgb"])
    return picture


def _with_opacity(grey: np.ndarray) -> Image.Image:
    opacity = np.broadcast_to(np.arange(grey.shape[1]) % 256, grey.shape).astype(np.uint8)
    return Image.fromarray(np.stack([grey, grey, grey, opacity], axis=-1))


def _color(grey: np.ndarray) -> Image.Image:
    return Image.fromarray(grey).convert("RGB")


def _inks(grey: np.ndarray) -> Image.Image:
    return Image.fromarray(grey).convert("CMYK")


def _dicom(
    grey: np.ndarray,
    path: Path,
    stored: Callable[[np.ndarray], np.ndarray] = _deep,
    extra: Elements | None = None,
    syntax: str = _EXPLICIT,
) -> None:
    path.write_bytes(dicom(stored(grey), extra, syntax))


def _compressed_dicom(grey: np.ndarray, path: Path, compression: str) -> None:
    """ITK compresses a file of its own, which then has no patient's data."""
    file = itk.GDCMImageIO.New()
    file.SetCompressionType(getattr(itk.GDCMImageIOEnums, f"Compression_{compression}"))
    itk.imwrite(itk.image_from_array(_deep(grey)), str(path), compression=True, imageio=file)


def _nifti(
    grey: np.ndarray, path: Path, axes: tuple[float, float], shape: tuple[int, ...] = (1,), order: str = "<"
) -> None:
    header = nib.Nifti1Header(endianness=order)
    header.set_data_dtype(np.int16)
    affine = np.diag([axes[0] * SPACING[1], axes[1] * SPACING[0], 1.0, 1.0])
    affine[:3, 3] = 10, -20, 30
    nib.save(nib.Nifti1Image(grey.T.astype(np.int16).reshape(*grey.T.shape, *shape), affine, header), path)


def _itk(grey: np.ndarray, path: Path, kind: type = np.uint16, turned: bool = False, compression: bool = False) -> None:
    image = itk.image_from_array(_deep(grey).astype(kind))
    image.SetSpacing(SPACING[::-1])
    image.SetOrigin((5.0, -7.0))
    if turned:
        image.SetDirection(np.array([[0.0, -1.0], [1.0, 0.0]]))
    itk.imwrite(image, str(path), compression=compression)


def _deep_color_png(grey: np.ndarray, path: Path) -> None:
    """Colors of 16 bits, which Pillow does not write."""
    height, width = grey.shape
    rows = np.stack([_deep(grey)] * 3, axis=-1).astype(">u2").reshape(height, -1)
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0),
        b"IDAT": zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows)),
        b"IEND": b"",
    }
    parts = [
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks.items()
    ]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def _deep_color_tiff(grey: np.ndarray, path: Path) -> None:
    imsave(path, np.stack([_deep(grey)] * 3, axis=-1), check_contrast=False)


_INVERTED = {(0x0028, 0x0004): ("CS", "MONOCHROME1")}
_RESCALED = {(0x0028, 0x1052): ("DS", "-1024"), (0x0028, 0x1053): ("DS", "0.5")}
_WINDOW = {(0x0028, 0x1050): ("DS", "700"), (0x0028, 0x1051): ("DS", "90")}
ENCODINGS: dict[str, Writer] = {
    "grey.png": _picture,
    "grey16.png": partial(_picture, make=lambda grey: Image.fromarray(_deep(grey))),
    "color.png": partial(_picture, make=_color),
    "color16.png": _deep_color_png,
    "palette.png": partial(_picture, make=_palette),
    "opacity.png": partial(_picture, make=_with_opacity),
    "grey_opacity.png": partial(_picture, make=lambda grey: _with_opacity(grey).convert("LA")),
    "turned16.png": partial(_turned, orientation=8, stored=partial(np.rot90, k=-1), depth=DEPTH),
    "grey.jpg": partial(_picture, quality=95),
    "color.jpg": partial(_picture, make=_color, quality=95, progressive=True),
    "inks.jpg": partial(_picture, make=_inks, quality=95),
    "turned.jpg": partial(_turned, orientation=6, stored=np.rot90, quality=95),
    "mirrored.jpeg": partial(_turned, orientation=2, stored=np.fliplr, quality=95),
    "transposed.jpg": partial(_turned, orientation=5, stored=np.transpose, quality=95),
    "grey.bmp": _picture,
    "grey.tif": _picture,
    "grey16.tif": partial(_picture, make=lambda grey: Image.fromarray(_deep(grey))),
    "color16.tif": _deep_color_tiff,
    "float.tif": partial(_picture, make=lambda grey: Image.fromarray(grey.astype(np.float32) / 255)),
    "inks.tiff": partial(_picture, make=_inks),
    "packed.tiff": partial(_picture, compression="tiff_lzw"),
    "white_is_zero.tif": partial(_picture, tiffinfo={262: 0}),
    "white_is_zero16.tif": partial(_picture, make=lambda grey: Image.fromarray(65535 - _deep(grey)), tiffinfo={262: 0}),
    "turned.tif": partial(_turned, orientation=3, stored=partial(np.rot90, k=2), depth=DEPTH),
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
    "implicit.dcm": partial(_dicom, syntax=_IMPLICIT),
    "jpeg.dcm": partial(_compressed_dicom, compression="JPEG"),
    "jpeg2000.dcm": partial(_compressed_dicom, compression="JPEG2000"),
    "1.2.840.4711": _dicom,
    "grey.nii": partial(_nifti, axes=(-1, -1)),
    "flipped.nii.gz": partial(_nifti, axes=(1, -1)),
    "upright.nii.gz": partial(_nifti, axes=(1, 1), shape=()),
    "big_endian.nii": partial(_nifti, axes=(-1, 1), order=">"),
    "grey.mha": _itk,
    "packed.mha": partial(_itk, compression=True),
    "turned.mha": partial(_itk, kind=np.float64, turned=True),
    "grey.nrrd": partial(_itk, compression=True),
}
"""File name to the function that writes an image, (H, W) ``uint8``, to a path of that type."""
LOSSY = tuple(name for name in ENCODINGS if name.endswith((".jpg", ".jpeg")))
"""Encodings that change the grey values a little."""


def write_encodings(image: np.ndarray, folder: str | os.PathLike[str]) -> list[Path]:
    """Write an image, (H, W) ``uint8``, in every encoding to a folder; returns the files."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, write in ENCODINGS.items():
        write(image, folder / name)
    return [folder / name for name in ENCODINGS]
