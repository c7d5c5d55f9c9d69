"""Test files of pydicom, nibabel and Pillow, read by us and by these libraries themselves.

``python tests/library_files.py [FOLDER ...]`` prints the table of ``docs/data.md``.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections import Counter
from pathlib import Path

import itk
import nibabel as nib
import numpy as np
import pydicom
from PIL import Image, ImageOps
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut

from doll_monai.data.readers import PICTURES, read_image
from doll_monai.utils.errors import InputError

FOLDERS = (
    Path(pydicom.__file__).parent / "data" / "test_files",
    Path(nib.__file__).parent / "tests" / "data",
    Path(nib.__file__).parent / "nicom" / "tests" / "data",
)
PALETTE = tuple(f"{color}PaletteColorLookupTableData" for color in ("Red", "Green", "Blue"))
LEVELS = 2.0
"""By how much two decoders of the same lossy pixels, or two conversions of the same colors, may differ."""


def files() -> list[Path]:
    """Those that the packages carry, and those in the folders that ``DOLL_LIBRARY_FILES`` lists."""
    folders = [*FOLDERS, *map(Path, filter(None, os.environ.get("DOLL_LIBRARY_FILES", "").split(os.pathsep)))]
    found = {path for folder in folders for path in folder.rglob("*") if path.is_file() and kind(path)}
    return sorted(found)


def kind(path: Path) -> str | None:
    """DICOM, NIfTI, or what a picture's name ends in; None for files that are none of them by their name."""
    name = path.name.lower()
    if name.endswith((".nii", ".nii.gz")):
        return "NIfTI"
    if name.endswith(PICTURES):
        return {"jpeg": "JPEG", "jpg": "JPEG", "tif": "TIFF", "tiff": "TIFF"}.get(
            path.suffix.lower()[1:], path.suffix.upper()[1:]
        )
    with open(path, "rb") as file:
        return "DICOM" if name.endswith(".dcm") or file.read(132)[128:] == b"DICM" else None


def outcome(path: Path) -> tuple[str, str]:
    """What became of a file, and why: exact, agreeing, refused, read by us alone, or wrong."""
    try:
        values, affine = read_image(path)
    except InputError as error:
        return "refused", str(error).split(f"{path} cannot be read (")[-1].split("); replace it")[0]
    try:
        expected = reference(path)
    except Exception as error:
        return "read by us alone", repr(error)
    if expected.shape != values.shape:
        return "wrong", f"{values.shape} instead of {expected.shape}"
    if kind(path) == "DICOM" and not np.allclose(affine, _itk_affine(path, affine), atol=1e-5):
        return "wrong", "lies at another place"
    if np.array_equal(values, expected.astype(values.dtype)):
        return "exact", ""
    distance = float(np.abs(values.astype(float) - expected).max())
    return ("agreeing" if distance <= LEVELS else "wrong"), f"differs by {distance:g}"


def reference(path: Path) -> np.ndarray:
    """The image, (C, W, H), as the library for its file type reads it."""
    if kind(path) == "NIfTI":
        values = nib.load(path).get_fdata()
        return np.moveaxis(values.reshape(*values.shape[:2], -1), -1, 0)
    values = _dicom(path) if kind(path) == "DICOM" else _picture(path)
    return values.reshape(*values.shape[:2], -1).transpose(2, 1, 0)


def _itk_affine(path: Path, otherwise: np.ndarray) -> np.ndarray:
    """Where ITK places the file itself, (4, 4), if it reads it; its left and posterior become right and anterior."""
    file = itk.GDCMImageIO.New()
    file.SetFileName(str(path))
    try:
        file.ReadImageInformation()
    except RuntimeError:
        return otherwise
    affine = np.eye(4)
    for axis in range(min(file.GetNumberOfDimensions(), 3)):
        affine[:3, axis] = np.resize(file.GetDirection(axis), 3) * file.GetSpacing(axis)
        affine[axis, 3] = file.GetOrigin(axis)
    return np.diag([-1, -1, 1, 1]) @ affine


def _picture(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        bits = picture.tag_v2.get(258, (8,)) if picture.format == "TIFF" else (8,)
        signs = picture.tag_v2.get(339) if picture.format == "TIFF" else None
        deep = max(bits) > 8 or ";16" in str(getattr(picture, "tile", ""))
        if deep and picture.mode in ("LA", "RGB", "RGBA") and picture.format in ("PNG", "TIFF"):
            colors = itk.array_from_image(itk.imread(str(path))).astype(float)
            return (colors[..., :-1] if colors.shape[-1] in (2, 4) else colors).mean(axis=-1)
        picture = ImageOps.exif_transpose(picture)
        if picture.mode not in ("1", "L", "LA", "I", "F", "RGB", "RGBA") and not picture.mode.startswith("I;16"):
            picture = picture.convert("RGB")
        values = np.asarray(picture)
        if picture.mode in ("L", "I") and signs:  # of which Pillow takes no notice
            values = values.view(f"{'ui'[max(signs) - 1]}{values.itemsize}")
        white = picture.mode.startswith("I;16") and getattr(picture, "tag_v2", {}).get(262) == 0
        return values.max() - values if white else values


def _dicom(path: Path) -> np.ndarray:
    """By pydicom's own functions; by ITK where pydicom has no decoder, and what it gives of DICOM is brightness."""
    dataset = pydicom.dcmread(path, force=True)
    if "TransferSyntaxUID" not in dataset.file_meta:
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
    try:
        stored = dataset.pixel_array
    except RuntimeError:
        return np.squeeze(itk.array_from_image(itk.imread(str(path))))
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        for element in [element for element in dataset if element.keyword in PALETTE]:
            if not dataset.original_encoding[1]:  # which pydicom takes for little-endian
                element.value = np.frombuffer(element.value, "u2").byteswap().tobytes()
        return apply_color_lut(stored, dataset)
    if dataset.SamplesPerPixel > 1:
        return stored
    values = apply_modality_lut(stored, dataset)
    if "VOILUTSequence" in dataset and (np.diff(dataset.VOILUTSequence[0].LUTData) < 0).any():
        values = apply_voi_lut(values, dataset)
    if (padding := dataset.get("PixelPaddingValue")) is not None:
        values = np.where(stored == padding, values[stored != padding].min(), values)
    return values.max() + values.min() - values if dataset.PhotometricInterpretation == "MONOCHROME1" else values


def main(folders: list[str]) -> None:
    os.environ["DOLL_LIBRARY_FILES"] = os.pathsep.join(folders)
    counts: dict[str, Counter[str]] = {}
    for path in files():
        result, reason = outcome(path)
        counts.setdefault(str(kind(path)), Counter()).update([result])
        print(f"{result:10} {path.name}: {reason}")
    for name, counted in counts.items():
        print(f"| {name} | {counted.total()} |", dict(counted))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(sys.argv[1:])
