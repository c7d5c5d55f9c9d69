"""Reading radiographs and label files."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor, PILReader
from monai.data.utils import to_affine_nd
from monai.transforms import LoadImage, MapTransform
from monai.utils import SpaceKeys
from PIL import Image

from doll_monai.data.label_files import read_label
from doll_monai.errors import InputError
from doll_monai.transforms.jsrt import JsrtReader


class LoadFilmd(MapTransform):
    """Read a radiograph as one grey channel, whatever its file type.

    MONAI's ``LoadImage`` reads it; colour channels are averaged, an alpha channel and trailing axes of length one are
    dropped. The result is a ``MetaTensor`` (1, W, H) ``float32`` with the file's own values: MONAI puts the width
    first, pictures and boxes need it transposed. Its metadata are the file's name and geometry alone, whatever its
    type.

    Args:
        keys: keys of the file names.

    Raises:
        InputError: when a file is missing, cannot be read, or holds no two-dimensional image.
    """

    def __init__(self, keys: KeysCollection = "image") -> None:
        super().__init__(keys)
        self.load = LoadImage(image_only=True, ensure_channel_first=True)
        self.load.register(PILReader(converter=_resolve_palette))
        self.load.register(JsrtReader())

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        for key in self.key_iterator(result):
            result[key] = self._read(result[key])
        return result

    def _read(self, path: Any) -> torch.Tensor:
        film = _load(self.load, path, "film").float()
        if film.shape[0] in (2, 4):
            film = film[:-1]
        film = film.mean(dim=0, keepdim=True)
        if film.ndim != 3 or min(film.shape[1:]) < 2:
            size = " x ".join(str(length) for length in film.shape[1:])
            raise InputError(f"The film {path} is no two-dimensional image but {size}; remove it from the datalist.")
        if not bool(torch.isfinite(film).all()):
            raise InputError(f"The film {path} holds values that are no numbers; remove it from the datalist.")
        return MetaTensor(film.as_tensor(), meta=_common_meta(film)) if isinstance(film, MetaTensor) else film


def _common_meta(film: MetaTensor) -> dict[str, Any]:
    """What every file type says of a film, so that films of several types can stand in one batch.

    Everything else that a reader found stays behind: header fields of NIfTI, tags of DICOM.
    """
    affine = torch.as_tensor(to_affine_nd(3, film.affine))
    return {
        "filename_or_obj": film.meta["filename_or_obj"],
        "affine": affine,
        "original_affine": affine.clone(),
        "spatial_shape": torch.tensor(film.shape[1:]),
        "original_channel_dim": float("nan"),
        "space": film.meta.get("space", SpaceKeys.RAS),
    }


class LoadLabeld(MapTransform):
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
        self.load = LoadImage(image_only=True, ensure_channel_first=True)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        for key in self.key_iterator(result):
            path = result[key]
            label = _load(self._read, path, "label")
            if self.channels is not None and label.shape[0] != self.channels:
                raise InputError(f"The label {path} has {label.shape[0]} channels instead of {self.channels}.")
            if str(path).lower().endswith((".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")):
                label = label > label.max() / 2
            result[key] = label.to(torch.uint8)
        return result

    def _read(self, path: Any) -> torch.Tensor:
        """A file of our own layout directly, any other one as MONAI does."""
        found = read_label(path) if str(path).lower().endswith((".nii", ".nii.gz")) else None
        if found is None:
            label: torch.Tensor = self.load(path)
            return label
        return MetaTensor(
            torch.from_numpy(found[0]), affine=torch.as_tensor(found[1]), meta={"filename_or_obj": str(path)}
        )


def _resolve_palette(picture: Image.Image) -> Image.Image:
    """A picture of palette numbers as the colours that they stand for."""
    return picture.convert("RGB") if picture.mode == "P" else picture


def _cause(path: Any, error: Exception) -> str:
    """What is wrong with a file, as far as that can be said in a few words."""
    if os.path.isfile(path) and os.path.getsize(path) == 0:
        return " (it is empty)"
    text = str(error)
    return f" ({text})" if isinstance(error, OSError) and str(path) not in text and "\n" not in text else ""


def _load(load: Callable[[Any], torch.Tensor], path: Any, what: str) -> torch.Tensor:
    try:
        image = load(path)
    except FileNotFoundError as error:
        raise InputError(f"The {what} {path} does not exist; correct the datalist or dataset_dir.") from error
    except Exception as error:
        raise InputError(
            f"The {what} {path} cannot be read{_cause(path, error)}; replace it or remove it from the datalist."
        ) from error
    if image.ndim == 4 and image.shape[-1] == 1:
        image = image[..., 0]
    return image
