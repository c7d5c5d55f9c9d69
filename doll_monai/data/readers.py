"""Reading radiographs and label files: Pillow for pictures, nibabel for NIfTI, ITK for DICOM, MetaImage and NRRD.

Which of them reads a file depends on the file's name alone, never on what else is installed. Each looks at the header
first and refuses what is no image before memory is taken for its pixels.
"""

from __future__ import annotations

import io
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

import itk
import nibabel as nib
import numpy as np
from monai.data.utils import orientation_ras_lps, to_affine_nd
from PIL import Image, ImageOps, UnidentifiedImageError
from pydicom.dataset import FileDataset

from doll_monai.data.dicom import END, MORE, brightness, copy_for_itk, frames, may_be_cut, open_dicom
from doll_monai.data.geometry import PICTURE, nifti_affine
from doll_monai.utils.errors import InputError

MAX_PIXELS = 100_000_000
"""Pixels of an image at the most: detectors of today have up to about 30 million."""
MAX_VALUES = 4 * MAX_PIXELS
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif")
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "GIF", "PPM", "WEBP")
"""Pillow's names of what is taken for a picture; it hands some of the others to whatever program is installed."""
GRAY_OR_RGB = ("1", "L", "LA", "I", "F", "RGB", "RGBA")
"""Pillow's modes whose numbers are brightness; ``I;16`` and its variants are as well."""
RESOLUTION, RESOLUTION_UNIT, MM = (282, 283), 296, {1: 25.4, 2: 10.0}
"""Tags of TIFF, and mm of an inch and a centimeter as JPEG numbers them; TIFF counts from one more."""
BITS, ORIENTATION = 258, 274
PHOTOMETRIC_INTERPRETATION, MIN_IS_WHITE = 262, 0
SAMPLE_FORMAT, EXTRA_SAMPLES, ASSOCIATED = 339, 338, 1
"""Tags of TIFF and EXIF, and a value of two of them."""
ITK_KINDS = {".mha": ("MetaImage", "MetaImageIO"), ".nrrd": ("NRRD", "NrrdImageIO")}
TEXT_HEADER = {
    "MetaImage": re.compile(rb"(.*?)^ElementDataFile[ \t]*[=:][ \t]*LOCAL[ \t]*\r?\n", re.DOTALL | re.MULTILINE),
    "NRRD": re.compile(rb"(.*?\n)\r?\n", re.DOTALL),
}
DATA_FILE = re.compile(rb"^\s*data ?file\s*:", re.IGNORECASE | re.MULTILINE)
BINARY = re.compile(rb"^(BinaryData\s*[=:]\s*T|encoding:\s*(raw|gz))", re.IGNORECASE | re.MULTILINE)
COMPRESSED = re.compile(rb"^(CompressedData\s*[=:]\s*T|encoding:\s*gz)", re.IGNORECASE | re.MULTILINE)
HEADER_BYTES = 65536
"""More than the headers of MetaImage and NRRD have, which are a page of text."""
JSRT_SIDE, JSRT_SPACING, JSRT_LARGEST = 2048, 0.175, 4095
"""Width and height in pixels, mm a pixel, and the largest value of JSRT's raw images."""

Read = tuple[np.ndarray, np.ndarray]


def read_image(path: str | os.PathLike[str], what: str = "image") -> Read:
    """The values and the place of an image or a label of any file type.

    Args:
        path: the file. A name of no known type must be DICOM's.
        what: what it is, for the errors.

    Returns:
        (C, W, H), ``uint8`` where the file has this type, else ``float32``; and the affine, (4, 4) ``float64``.

    Raises:
        InputError: when the file is missing, cannot be read, holds no two-dimensional image, claims more than
            ``MAX_PIXELS``, or has values or a position that are no numbers.
    """
    if not isinstance(path, str | os.PathLike):
        raise InputError(f"The {what} must be one file, not {path!r}.")
    name = os.fspath(path).lower()
    if name.endswith(".img") and not any(Path(path).with_suffix(suffix).exists() for suffix in (".hdr", ".HDR")):
        read = _read_jsrt
    elif is_picture(name):
        read = _read_picture
    elif name.endswith(tuple(ITK_KINDS)):
        read = _read_text_headed
    else:
        read = _read_nifti if name.endswith((".nii", ".nii.gz")) else _read_dicom
    try:
        if os.path.exists(path) and not os.path.isfile(path):  # a pipe would wait for its other end
            raise OSError("it is no file")
        values, affine = read(os.fspath(path))
        values = np.ascontiguousarray(values, dtype=np.uint8 if values.dtype == np.uint8 else np.float32)
        if not np.isfinite(values).all():
            raise OSError("it holds values that are no numbers")
        if not np.isfinite(affine).all() or np.linalg.det(affine) == 0:
            raise OSError("its affine is no position in space")
    except FileNotFoundError as error:
        raise InputError(f"The {what} {path} does not exist; correct the datalist or dataset_dir.") from error
    except Exception as error:  # the libraries raise whatever a damaged file makes them stumble over
        remedy = "replace it or remove it from the datalist"
        raise InputError(f"The {what} {path} cannot be read ({_cause(path, error)}); {remedy}.") from error
    return values, affine


def _cause(path: str | os.PathLike[str], error: Exception) -> str:
    """What is wrong with a file, as far as that can be said in a few words."""
    if os.path.isfile(path) and os.path.getsize(path) == 0:
        return "it is empty"
    if isinstance(error, UnidentifiedImageError):
        return "it is no picture of a known kind"
    text = str(error)
    told = isinstance(error, OSError) and str(path) not in text and "\n" not in text
    return text if told else "it is damaged, or not of the type that its name says"


def _check_header(shape: Sequence[int], channels: int = 1) -> None:
    """Refuse a file by what its header says: the lengths of all axes but that of the colors, width and height first."""
    shape = shape[:2] if prod(shape[2:]) == 1 else shape
    if len(shape) != 2 or min(shape) < 2:
        raise OSError(f"it is no two-dimensional image but {' x '.join(map(str, shape))}")
    if prod(shape) > MAX_PIXELS or prod(shape) * channels > MAX_VALUES:
        raise OSError(f"it claims {shape[0]} x {shape[1]} pixels; {MAX_PIXELS:,} are read at the most")


@contextmanager
def open_picture(path: str | os.PathLike[str]) -> Iterator[Image.Image]:
    """A picture file, its pixels not decoded yet.

    Pillow gets the bytes, not the name: an uncompressed TIFF that it opens by name and that lies on its side comes out
    garbled (seen in 13.0), and a damaged length in a PNG has it ask for as much memory as the length says.
    """
    with Image.open(io.BytesIO(Path(path).read_bytes()), formats=FORMATS) as picture:
        yield picture


def is_picture(path: str | os.PathLike[str]) -> bool:
    """Whether a file's name is that of a picture."""
    return os.fspath(path).lower().endswith(PICTURES)


def is_turned(path: str | os.PathLike[str]) -> bool:
    """Whether a picture is turned as its EXIF data or TIFF tag say."""
    with open_picture(path) as picture:
        return bool(picture.getexif().get(ORIENTATION, 1) != 1)


def _read_picture(path: str) -> Read:
    """One page as a viewer shows it: EXIF's orientation applied, palettes and inks resolved."""
    try:
        with open_picture(path) as picture:
            # The second picture of an MPO, as telephones write it, is a preview.
            pages = 1 if picture.format == "MPO" else getattr(picture, "n_frames", 1)
            _check_header((*picture.size, pages))
            spacing = _spacing(picture)  # first: Pillow turns a TIFF when it decodes it, and forgets that it did
            values = _brightness(path, picture)
    except Image.DecompressionBombError as error:
        raise OSError(f"it claims more pixels than the {MAX_PIXELS:,} that are read at the most") from error
    return values.reshape(*values.shape[:2], -1).transpose(2, 1, 0), PICTURE @ np.diag([*spacing, 1, 1])


def _spacing(picture: Image.Image) -> tuple[float, float]:
    """Of columns and rows in mm, as ITK reads it from JPEG and TIFF; 1 where it is not told."""
    tags = getattr(picture, "tag_v2", {})
    unit = tags[RESOLUTION_UNIT] - 1 if RESOLUTION_UNIT in tags else picture.info.get("jfif_unit", 0)
    density = [tags.get(tag, 0) for tag in RESOLUTION] if tags else picture.info.get("jfif_density", (0, 0))
    if unit not in MM or min(density) <= 0:
        return 1.0, 1.0
    across, down = (MM[unit] / float(dots) for dots in density)
    return (down, across) if picture.getexif().get(ORIENTATION, 1) > 4 else (across, down)


def _check_filled(path: str, picture: Any) -> None:
    """Refuse rows that Pillow leaves black or gray since the file does not have them."""
    tiles = [tile[1] for tile in picture.tile] if picture.format == "TIFF" else []
    if tiles and sum((right - left) * (low - top) for left, top, right, low in tiles) < prod(picture.size):
        raise OSError("it has fewer rows than it claims")
    picture.load()
    if picture.format == "PNG" and not np.asarray(picture)[-1].any():
        _read_itk(path, itk.PNGImageIO)
    if picture.format == "JPEG":
        before, _, behind = Path(path).read_bytes().rpartition(END)
        with Image.open(io.BytesIO(before + MORE + END + behind), formats=FORMATS) as longer:
            if longer.tobytes() != picture.tobytes():
                raise OSError("it is cut off")


def _brightness(path: str, picture: Image.Image) -> np.ndarray:
    """Numbers that grow with brightness: (H, W), or (H, W, C) with colors or opacity."""
    tags, tiles = getattr(picture, "tag_v2", {}), str(getattr(picture, "tile", ""))
    deep = max(tags.get(BITS, (8,))) > 8 if tags else picture.format == "PNG" and ";16" in tiles
    if deep and picture.mode not in ("I", "F") and not picture.mode.startswith("I;16"):
        return np.asarray(ImageOps.exif_transpose(_deep_color(path, picture)))
    _check_filled(path, picture)
    if not deep and picture.mode not in GRAY_OR_RGB:
        picture = picture.convert("RGBA" if "transparency" in picture.info else "RGB")
    values = np.asarray(ImageOps.exif_transpose(picture))
    if tags:  # Pillow takes integers of 32 bits for signed and those of 8 for unsigned
        kinds = {("I", 1): np.uint32, ("L", 2): np.int8}
        values = values.view(kinds.get((picture.mode, max(tags.get(SAMPLE_FORMAT, (1,)))), values.dtype))
    return values.max() - values if deep and tags.get(PHOTOMETRIC_INTERPRETATION) == MIN_IS_WHITE else values


def _deep_color(path: str, picture: Image.Image) -> Image.Image:
    """Colors of 16 bits, of which Pillow would keep eight, averaged; read by ITK."""
    orientation = picture.getexif().get(ORIENTATION, 1)
    if picture.format == "TIFF" and orientation != 1:
        raise OSError("it has 16 bits a color and is turned by a tag; save it upright")
    kind = itk.PNGImageIO if picture.format == "PNG" else itk.TIFFImageIO
    file = kind.New()
    file.SetFileName(path)
    file.ReadImageInformation()
    opacity_applied = ASSOCIATED in getattr(picture, "tag_v2", {}).get(EXTRA_SAMPLES, ())
    if picture.mode not in ("LA", "RGB", "RGBA") or opacity_applied or file.GetComponentSize() < 2:
        raise OSError("its colors of 16 bits are arranged in a way that is not read; save it as PNG")
    values, _ = _read_itk(path, kind)
    gray = Image.fromarray((values[:-1] if len(values) in (2, 4) else values).mean(axis=0).T)
    gray.getexif()[ORIENTATION] = orientation
    return gray


def _read_nifti(path: str) -> Read:
    """NIfTI of (W, H), (W, H, 1) or (W, H, 1, C), as it is stored; the identity where it does not say how it lies."""
    image: Any = nib.load(path)
    channels = image.shape[3] if len(image.shape) > 3 else 1
    _check_header((*image.shape[:3], *image.shape[4:]), channels)
    if image.get_data_dtype().kind not in "iuf":
        raise OSError("it holds colors or complex numbers; save it in gray")
    values = np.asarray(image.dataobj)
    return np.moveaxis(values.reshape(*values.shape[:2], -1), -1, 0), nifti_affine(image)


def _read_dicom(path: str) -> Read:
    dataset = open_dicom(path)
    _check_header((dataset.Columns, dataset.Rows, frames(dataset)), dataset.SamplesPerPixel)
    decoded, affine = _decode(dataset)
    if may_be_cut(dataset, decoded) and not np.array_equal(_decode(dataset, MORE)[0], decoded):
        raise OSError("its compressed pixels are cut off")
    return brightness(dataset, decoded), affine


def _decode(dataset: FileDataset, more: bytes = b"") -> Read:
    with copy_for_itk(dataset, more) as copy:
        try:
            return _read_itk(copy, itk.GDCMImageIO)
        except RuntimeError as error:
            raise OSError("its compressed pixels cannot be decoded") from error


def _read_text_headed(path: str) -> Read:
    """MetaImage or NRRD with just the pixels that its header claims: ITK leaves out what is missing without a word."""
    name, kind_name = ITK_KINDS[Path(path).suffix.lower()]
    kind = getattr(itk, kind_name)  # ITK loads each of them when it is first asked for
    header, pixels = _split(Path(path).read_bytes(), name)
    file = kind.New()
    if not file.CanReadFile(path):
        raise OSError(f"it is no {name} file")
    read = _read_itk(path, kind)
    file.SetFileName(path)
    file.ReadImageInformation()
    size = file.GetImageSizeInBytes()
    if COMPRESSED.search(header):
        pixels = zlib.decompressobj(wbits=47).decompress(pixels, size + 1)  # of zlib or gzip
    if len(pixels) != size:
        raise OSError(f"it does not hold the {size} bytes of pixels that its header claims")
    return read


def _split(content: bytes, name: str) -> tuple[bytes, bytes]:
    """Header and pixels; refused where these are text or elsewhere, or have so many axes that ITK ends the process."""
    parts = TEXT_HEADER[name].match(content[:HEADER_BYTES])
    if not parts or DATA_FILE.search(parts[1]):
        raise OSError("it has no pixels of its own behind a short header")
    for claim in re.findall(rb"NDims\s*[=:]\s*([-+]?\d*)", parts[1]):
        if claim not in (b"2", b"3", b"4"):
            raise OSError(f"it claims {claim.decode()} axes")
    if not BINARY.search(parts[1]):
        raise OSError("its pixels are neither raw nor compressed by gzip; save it so")
    return parts[1], content[parts.end() :]


def _read_itk(path: str, kind: Any) -> Read:
    """The values of a file as ``float32``, whatever their type, and nothing of its tags."""
    file = kind.New()
    file.SetFileName(path)
    file.ReadImageInformation()
    axes, channels = file.GetNumberOfDimensions(), file.GetNumberOfComponents()
    _check_header([file.GetDimensions(axis) for axis in range(axes)], channels)
    pixel = itk.F if channels == 1 else itk.Vector[itk.F, channels]
    reader = itk.ImageFileReader[itk.Image[pixel, axes]].New(FileName=path, ImageIO=file)
    reader.Update()
    image = reader.GetOutput()
    values = itk.array_from_image(image)
    height, width = values.shape[:-1][-2:] if channels > 1 else values.shape[-2:]
    directions, spacing, origin = map(np.asarray, (image.GetDirection(), image.GetSpacing(), image.GetOrigin()))
    space = min(axes, 3)
    affine = np.eye(space + 1)
    affine[:space, :space] = directions[:space, :space] * spacing[:space]
    affine[:space, -1] = origin[:space]
    return values.reshape(height, width, -1).transpose(2, 1, 0), to_affine_nd(3, orientation_ras_lps(affine))


def _read_jsrt(path: str) -> Read:
    """JSRT's raw images (Shiraishi et al. 2000): 2048 x 2048 of 0.175 mm, 12 bit, big-endian, without a header.

    The database's page (db.jsrt.or.jp) says so. Large numbers stand for dark; radiographs elsewhere show bone bright,
    so values are turned round.
    """
    length = os.path.getsize(path)
    if length != 2 * JSRT_SIDE**2:
        raise OSError(f"it has {length} bytes, a raw image of JSRT {2 * JSRT_SIDE**2}")
    values = np.fromfile(path, dtype=">u2").reshape(1, JSRT_SIDE, JSRT_SIDE)
    if int(values.max()) > JSRT_LARGEST:
        raise OSError(f"it has values above {JSRT_LARGEST}, so it is not of 12 bits or not big-endian")
    return (JSRT_LARGEST - values).transpose(0, 2, 1), PICTURE @ np.diag([JSRT_SPACING, JSRT_SPACING, 1.0, 1.0])
