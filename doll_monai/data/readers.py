"""Readers of radiographs: Pillow for pictures, nibabel for NIfTI, ITK for DICOM, MetaImage and NRRD.

Which of them reads a file depends on the file's name alone, never on what else is installed. Each looks at the header
first and refuses what is no image before memory is taken for its pixels.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any, ClassVar

import itk
import nibabel as nib
import numpy as np
from monai.data import ImageReader, ITKReader, NibabelReader, PILReader
from monai.data.utils import is_supported_format
from PIL import Image

from doll_monai.data.dicom_lengths import check_lengths
from doll_monai.data.jsrt import JsrtReader
from doll_monai.utils.errors import InputError
from doll_monai.utils.pictures import MAX_PIXELS, ORIENTATION, open_picture, upright

MAX_CHANNELS = 4
"""Colors and opacity."""
GRAY_OR_RGB = ("1", "L", "LA", "I", "F", "RGB", "RGBA")
"""Pillow's modes whose numbers are brightness; ``I;16`` and its variants are as well."""
HEADER_BYTES = 65536
"""More than the headers of MetaImage and NRRD have, which are a page of text."""
MIN_IS_WHITE, PHOTOMETRIC_INTERPRETATION = 0, 262


def image_readers() -> list[ImageReader]:
    """The readers in their order: the first one that takes a file's name reads it, ITK's all that is left."""
    return [JsrtReader(), PictureReader(), NiftiImageReader(), ItkImageReader()]


def check_header(path: Any, shape: Sequence[int], channels: int = 1) -> None:
    """Refuse a file by what its header says.

    Args:
        path: the file, for the error.
        shape: lengths of all axes but that of the colors; width and height first.
        channels: number of colors.

    Raises:
        InputError: when there are other axes than two, too many colors, or more than ``MAX_PIXELS``.
    """
    if len(shape) < 2 or min(shape) < 1 or prod(shape[2:]) != 1:
        size = " x ".join(map(str, shape))
        raise InputError(f"The image {path} is no two-dimensional image but {size}; remove it from the datalist.")
    if channels > MAX_CHANNELS:
        raise InputError(f"The image {path} has {channels} values a pixel; save it in grey or colors.")
    if prod(shape) > MAX_PIXELS:
        raise InputError(
            f"The image {path} claims {shape[0]} x {shape[1]} pixels; {MAX_PIXELS:,} are read at the most. "
            "Remove it from the datalist."
        )


class PictureReader(PILReader):
    """Pictures of one page by Pillow, as a viewer shows them: EXIF's orientation applied, palettes and inks resolved.

    Colors of 16 bits, of which Pillow would keep eight, are read by ITK and averaged.
    """

    suffixes = ("png", "jpg", "jpeg", "bmp", "tif", "tiff")

    def verify_suffix(self, filename: Any) -> bool:
        """Whether a file of this name is a picture."""
        return is_supported_format(filename, self.suffixes)

    def read(self, data: Any, **kwargs: Any) -> Any:
        """A file, or a tuple with the name of one, as a gray, RGB or RGBA picture."""
        path = _single(data)
        try:
            with open_picture(path) as picture:
                # The second picture of an MPO, as telephones write it, is a preview.
                pages = 1 if picture.format == "MPO" else getattr(picture, "n_frames", 1)
                check_header(path, (*picture.size, pages))
                deep = picture.mode in ("LA", "RGB", "RGBA") and any(
                    ";16" in str(tile) for tile in getattr(picture, "tile", ())
                )
                return _deep_color(path, picture) if deep else _as_brightness(picture)
        except Image.DecompressionBombError as error:
            raise InputError(
                f"The image {path} claims more pixels than the {MAX_PIXELS:,} that are read at the most; "
                "remove it from the datalist."
            ) from error


def _deep_color(path: str, picture: Image.Image) -> Image.Image:
    """A file of 16 bits a color, of which Pillow has made a picture of eight, in gray."""
    orientation = picture.getexif().get(ORIENTATION, 1)
    if picture.format == "TIFF" and orientation != 1:
        raise InputError(f"The image {path} has 16 bits a color and is turned by a tag; save it upright.")
    values = itk.array_from_image(_read_itk(path, itk.PNGImageIO if picture.format == "PNG" else itk.TIFFImageIO))
    if values.shape[-1] in (2, 4):
        values = values[..., :-1]
    gray = Image.fromarray(values.mean(axis=-1))
    gray.getexif()[ORIENTATION] = orientation
    return upright(gray)


def _as_brightness(picture: Any) -> Image.Image:
    """An upright picture whose numbers grow with brightness, in gray, RGB or RGBA."""
    deep = picture.mode.startswith("I;16")
    if deep and getattr(picture, "tag_v2", {}).get(PHOTOMETRIC_INTERPRETATION) == MIN_IS_WHITE:
        return Image.fromarray(65535 - np.asarray(upright(picture)))
    return upright(picture if deep or picture.mode in GRAY_OR_RGB else picture.convert("RGB"))


class NiftiImageReader(NibabelReader):
    """NIfTI by nibabel, as it is stored: its affine goes along, and turns nothing."""

    def read(self, data: Any, **kwargs: Any) -> Any:
        """A file, or a tuple with the name of one; its pixels stay in the file."""
        path = _single(data)
        image: Any = nib.load(path)
        shape = image.shape
        check_header(path, shape[:3], *shape[3:4])
        check_header(path, (*shape[:3], *shape[4:]))
        if image.get_data_dtype().kind not in "iuf":
            raise InputError(f"The image {path} holds colors or complex numbers; save it in grey.")
        return super().read(data)


class ItkImageReader(ITKReader):
    """DICOM, MetaImage and NRRD by ITK, without any of the file's tags.

    ITK applies the rescale slope and intercept of DICOM and turns MONOCHROME1 into MONOCHROME2; a display window it
    leaves alone.
    """

    kinds: ClassVar[dict[str, tuple[str, str]]] = {
        ".mha": ("MetaImage", "MetaImageIO"),
        ".nrrd": ("NRRD", "NrrdImageIO"),
    }

    def read(self, data: Any, **kwargs: Any) -> Any:
        """A file, or a tuple with the name of one; whatever is no MetaImage or NRRD by its name must be DICOM."""
        path = _single(data)
        if not Path(path).is_file():
            raise FileNotFoundError(path)
        name, kind_name = self.kinds.get(Path(path).suffix.lower(), ("DICOM", "GDCMImageIO"))
        kind = getattr(itk, kind_name)  # ITK loads each of them when it is first asked for
        if name == "DICOM":
            check_lengths(path)
        else:
            _check_text_header(path, name)
        if not kind.New().CanReadFile(path):
            raise OSError(f"it is no {name} file")
        return _read_itk(path, kind)

    def _get_meta_dict(self, img: Any) -> dict:
        return {}


def _check_text_header(path: str, name: str) -> None:
    """Refuse a MetaImage or NRRD whose pixels are in another file, or one of so many axes that ITK ends the process."""
    with open(path, "rb") as file:
        content = file.read(HEADER_BYTES).replace(b"\r\n", b"\n")
    header, end, rest = content.partition(b"ElementDataFile" if name == "MetaImage" else b"\n\n")
    elsewhere = (
        re.match(rb"\s*[=:]\s*LOCAL\s*[\r\n]", rest) is None
        if name == "MetaImage"
        else re.search(rb"^\s*data ?file\s*:", header, re.IGNORECASE | re.MULTILINE)
    )
    if not end or elsewhere:
        raise OSError("it has no pixels of its own behind a short header")
    for claim in re.findall(rb"NDims\s*[=:]\s*([-+]?\d*)", header):
        if claim not in (b"2", b"3", b"4"):
            raise OSError(f"it claims {claim.decode()} axes")


def _read_itk(path: str, kind: Any) -> Any:
    """A file as an ITK image of float values, vectors of them where there are colors."""
    file = kind.New()
    file.SetFileName(path)
    file.ReadImageInformation()
    axes, channels = file.GetNumberOfDimensions(), file.GetNumberOfComponents()
    check_header(path, [file.GetDimensions(axis) for axis in range(axes)], channels)
    pixel = itk.F if channels == 1 else itk.Vector[itk.F, channels]
    reader = itk.ImageFileReader[itk.Image[pixel, axes]].New(FileName=path, ImageIO=file)
    reader.Update()
    return reader.GetOutput()


def _single(data: Any) -> str:
    """The name of the file; several files are no image."""
    names = (data,) if isinstance(data, str | Path) else tuple(data)
    if len(names) != 1:
        raise InputError(f"An image is one file, not the {len(names)} of {', '.join(map(str, names))}.")
    return str(names[0])
