"""Reading radiographs and label files."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import ImageReader, ITKReader, MetaTensor, NibabelReader, PILReader
from monai.data.utils import to_affine_nd
from monai.transforms import EnsureChannelFirst, MapTransform, ScaleIntensityd
from monai.utils import SpaceKeys
from PIL import UnidentifiedImageError

from doll_monai.data.label_files import read_label
from doll_monai.data.readers import PictureReader, image_readers
from doll_monai.transforms.keywise import KeywiseTransform
from doll_monai.utils.errors import InputError
from doll_monai.utils.pictures import upright

BORDER_TOLERANCE = 1 / 64
SAMPLED = 1_000_000
"""About the number of pixels from which percentiles are taken."""


class LoadRadiographd(KeywiseTransform):
    """Read a radiograph of any file type, (C, W, H) ``float32`` with the file's own values.

    PNG, JPEG, BMP, TIFF, NIfTI, MetaImage (``.mha``), NRRD and JSRT's raw ``.IMG`` are known by their names; a file of
    any other name must be DICOM. MONAI puts the width first. Channels are gray, colors, or either with opacity;
    palettes and inks (CMYK) are resolved, trailing axes of length one dropped.

    - **DICOM**: slope and intercept are applied and MONOCHROME1 is inverted. Window and VOI LUT are not: many files
      lack them, and percentiles make a DICOM and the PNG exported from it the same.
    - **Pictures** are turned as their EXIF data or TIFF tag say: the grid that viewers display is the image's grid.
    - **Others** keep the stored grid, and their affine.

    The metadata are the file's name and geometry alone; a patient's name, dates and numbers stay behind.

    Args:
        keys: keys of the file names.

    Raises:
        InputError: when a file is missing, cannot be read, holds no two-dimensional image, claims more than 100 million
            pixels (noticed before memory is taken), or has values or a position that are no numbers.
    """

    def __init__(self, keys: KeysCollection = "image") -> None:
        super().__init__(keys)
        self.readers = image_readers()

    def convert(self, value: Any, data: Mapping[Hashable, Any]) -> torch.Tensor:
        """The image of a file name."""
        path, image = value, _load(partial(_read, readers=self.readers), value, "image")
        if image.ndim != 3 or min(image.shape[1:]) < 2:
            size = " x ".join(str(length) for length in image.shape[1:])
            raise InputError(f"The image {path} is no two-dimensional image but {size}; remove it from the datalist.")
        if not bool(torch.isfinite(image).all()):
            raise InputError(f"The image {path} holds values that are no numbers; remove it from the datalist.")
        if not isinstance(image, MetaTensor):
            return image
        affine = torch.as_tensor(to_affine_nd(3, image.affine))
        if not bool(torch.isfinite(affine).all()) or float(torch.linalg.det(affine)) == 0:
            raise InputError(f"The affine of the image {path} is no position in space; correct the file.")
        meta = {
            "filename_or_obj": image.meta["filename_or_obj"],
            "affine": affine,
            "original_affine": affine.clone(),
            "spatial_shape": torch.tensor(image.shape[1:]),
            "original_channel_dim": float("nan"),
            "space": image.meta.get("space", SpaceKeys.RAS),
        }  # the same for every file type, so that images of several types can stand in one batch
        return MetaTensor(image.as_tensor(), meta=meta)


class ToGrayd(KeywiseTransform):
    """Average the colors of images, (C, W, H), to (1, W, H); opacity, the last of two or four channels, is dropped."""

    def convert(self, value: torch.Tensor, data: Mapping[Hashable, Any]) -> torch.Tensor:
        """One image in gray."""
        return (value[:-1] if value.shape[0] in (2, 4) else value).mean(dim=0, keepdim=True)


class ClipBorderd(KeywiseTransform):
    """Dictionary version of ``clip_border``, for images (1, W, H)."""

    def convert(self, value: torch.Tensor, data: Mapping[Hashable, Any]) -> torch.Tensor:
        """One image, clipped."""
        return clip_border(value)


def read_radiograph(path: str | os.PathLike[str]) -> torch.Tensor:
    """A radiograph read as by every bundle, (1, W, H) ``float32`` in [0, 1]; see ``LoadRadiographd`` for errors."""
    item: dict[Hashable, Any] = {"image": path}
    for transform in _first_transforms():
        item = transform(item)
    image: torch.Tensor = item["image"]
    return image


@cache
def _first_transforms() -> tuple[MapTransform, ...]:
    return LoadRadiographd("image"), ToGrayd("image"), ClipBorderd("image"), ScaleIntensityd("image")


def clip_border(image: torch.Tensor) -> torch.Tensor:
    """Bring a border that would take an image's contrast to the darkest or brightest gray of what is inside.

    A border is made of outermost rows and columns of one value: collimators, padding, frames drawn by a scanner; what
    is left of it after JPEG, within a 64th of the image's range, is border as well. One that is darker than the 1st or
    brighter than the 99th percentile of the inside shifts these percentiles, a frame of 65535 around 12 bits to the
    point where nothing is seen. Such an image is clipped to the percentiles of its inside; others are left as they are.

    Args:
        image: (1, W, H) float.
    """
    inside, levels = torch.as_tensor(image[0]), []
    for tolerance in (0.0, BORDER_TOLERANCE):
        inside, found = _without_border(inside, tolerance)
        levels += found
    if not levels or min(inside.shape) < 2:
        return image
    low, high = np.percentile(inside.flatten()[:: max(inside.numel() // SAMPLED, 1)].numpy(), (1, 99))
    if high > low and (min(levels) < low or max(levels) > high):
        return image.clamp(float(low), float(high))
    return image


def _without_border(image: torch.Tensor, tolerance: float) -> tuple[torch.Tensor, list[float]]:
    """The inside of an image, (W, H), and the levels of the borders that are found.

    Args:
        image: (W, H), or anything empty.
        tolerance: share of the image's range by which a border's values differ at the most.
    """
    if image.numel() == 0:
        return image, []
    tolerance *= float(image.max() - image.min())
    widths, levels = [], []
    for across in (1, 0):
        lowest, highest = image.amin(dim=across), image.amax(dim=across)
        for low, high in ((lowest, highest), (lowest.flip(0), highest.flip(0))):
            level = (low[0] + high[0]) / 2
            constant = (level - low <= tolerance) & (high - level <= tolerance)
            widths.append(int(constant.int().cumprod(0).sum()))
            levels.append(float(level))
    left, right, top, bottom = widths
    inside = image[left : max(image.shape[0] - right, 0), top : max(image.shape[1] - bottom, 0)]
    return inside, [level for width, level in zip(widths, levels, strict=True) if width]


class LoadLabeld(KeywiseTransform):
    """Read a label file, (T, W, H) ``uint8`` with 0, 1 and 255 (ignored).

    A NIfTI of (W, H, 1, T) or a picture (one channel) of masks; a picture's 255 is foreground, as masks drawn by
    people have it.

    Args:
        keys: keys of the file names.
        channels: T that the file must have; None takes what comes.

    Raises:
        InputError: when a file is missing, cannot be read or has another number of channels.
    """

    def __init__(self, keys: KeysCollection = "label", channels: int | None = None) -> None:
        super().__init__(keys)
        self.channels = channels
        self.readers = [PILReader(converter=upright), NibabelReader(), ITKReader()]

    def convert(self, value: Any, data: Mapping[Hashable, Any]) -> torch.Tensor:
        """The label of a file name."""
        label = _load(self._read, value, "label")
        if self.channels is not None and label.shape[0] != self.channels:
            raise InputError(f"The label {value} has {label.shape[0]} channels instead of {self.channels}.")
        if str(value).lower().endswith(PictureReader.suffixes):
            label = label > label.max() / 2
        return label.to(torch.uint8)

    def _read(self, path: Any) -> torch.Tensor:
        """A file of our own layout directly, any other one as MONAI does."""
        found = read_label(path) if str(path).lower().endswith((".nii", ".nii.gz")) else None
        if found is None:
            return _read(path, self.readers)
        return MetaTensor(
            torch.from_numpy(found[0]), affine=torch.as_tensor(found[1]), meta={"filename_or_obj": str(path)}
        )


def _read(path: Any, readers: Sequence[ImageReader]) -> torch.Tensor:
    """What ``LoadImage`` does, which makes one of each of MONAI's readers, with a warning where a library is missing.

    Returns:
        (C, W, H) or (C, W, H, 1) ``float32``.
    """
    reader = next(reader for reader in readers if reader.verify_suffix(path))
    values, meta = reader.get_data(reader.read(path))
    meta["filename_or_obj"] = str(path)
    image = MetaTensor.ensure_torch_and_prune_meta(np.asarray(values, dtype=np.float32), meta)
    return EnsureChannelFirst()(image)


def _load(load: Callable[[Any], torch.Tensor], path: Any, what: str) -> torch.Tensor:
    try:
        image = load(path)
    except FileNotFoundError as error:
        raise InputError(f"The {what} {path} does not exist; correct the datalist or dataset_dir.") from error
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"The {what} {path} cannot be read{_cause(path, error)}; replace it or remove it from the datalist."
        ) from error
    if image.ndim == 4 and image.shape[-1] == 1:
        image = image[..., 0]
    return image


def _cause(path: Any, error: Exception) -> str:
    """What is wrong with a file, as far as that can be said in a few words."""
    if os.path.isfile(path) and os.path.getsize(path) == 0:
        return " (it is empty)"
    if isinstance(error, UnidentifiedImageError):
        return " (it is no picture of a known kind)"
    text = str(error)
    return f" ({text})" if isinstance(error, OSError) and str(path) not in text and "\n" not in text else ""
