"""Known places of findings: masks or boxes, read only to evaluate."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from doll_monai.data.datalist import read_table, relative_path
from doll_monai.data.run_lengths import RunLengths, read_run_lengths
from doll_monai.findings import finding_index
from doll_monai.utils.errors import InputError
from doll_monai.utils.pictures import open_picture, upright

Place = str | tuple[float, ...] | RunLengths

BOX = ("x", "y", "width", "height")


class GroundTruth:
    """Masks or boxes of findings, from a CSV with one row a place, or from a JSON file of CheXlocalize.

    The CSV's columns are ``Path`` (as in CheXpert's own CSV files, with or without the data set's folder in front),
    ``finding``, and either ``mask`` (a picture below ``dataset_dir``) or ``x, y, width, height`` (fractions of the
    image's width and height). Several rows of one image and finding are united. CheXlocalize (Saporta et al. 2022) names
    images by the last three parts of their path, ``patient64541_study1_view1_frontal``; see ``read_run_lengths``.

    Args:
        path: the CSV or JSON file; None is a truth that knows nothing.
        dataset_dir: folder of the images.

    Raises:
        InputError: when the file is missing, lacks a column or names an unknown finding.
    """

    def __init__(self, path: str | os.PathLike | None, dataset_dir: str | os.PathLike) -> None:
        self.dataset_dir = Path(dataset_dir)
        self._places: dict[str, list[tuple[int, Place]]] = {}
        if path is None:
            return
        if Path(path).suffix.lower() == ".json":
            for radiograph, channel, mask in read_run_lengths(path):
                self._places.setdefault(radiograph, []).append((channel, mask))
            return
        for line, row in read_table(path, ("Path", "finding")):
            if "mask" not in row and not set(BOX) <= set(row):
                raise InputError(f"{path} needs a column mask, or the columns {', '.join(BOX)}.")
            try:
                place: Place = (
                    relative_path(row["mask"], f"{path}, line {line}")
                    if "mask" in row
                    else tuple(float(row[name]) for name in BOX)
                )
                channel = finding_index(row["finding"])
            except InputError:
                raise
            except (KeyError, ValueError) as error:
                raise InputError(f"{path}, line {line}: no known finding, or no numbers in its box.") from error
            image = self._below_dataset(relative_path(row["Path"], f"{path}, line {line}"))
            self._places.setdefault(image, []).append((channel, place))

    def __contains__(self, image: str | os.PathLike) -> bool:
        return bool(self._known(image))

    def channels(self, image: str | os.PathLike) -> set[int]:
        """Observations of which a place is known in an image; no mask is read."""
        return {channel for channel, _ in self._known(image)}

    def _known(self, image: str | os.PathLike) -> list[tuple[int, Place]]:
        path = self.relative(image)
        name = "_".join(Path(path).with_suffix("").parts[-3:])
        return self._places.get(path) or self._places.get(name) or []

    def relative(self, image: str | os.PathLike) -> str:
        """An image's path below ``dataset_dir``, with forward slashes."""
        return Path(os.path.relpath(image, self.dataset_dir)).as_posix()

    def masks(self, image: str | os.PathLike, size: tuple[int, ...]) -> dict[int, torch.Tensor]:
        """The places known in one image.

        Args:
            image: the image.
            size: (W, H) of the wanted grid, which covers the whole image.

        Returns:
            Observation's channel to its mask, (W, H) bool; empty when nothing is known.
        """
        masks: dict[int, torch.Tensor] = {}
        for channel, place in self._known(image):
            mask = self._draw(place, size)
            masks[channel] = masks[channel] | mask if channel in masks else mask
        return masks

    def _draw(self, place: Place, size: tuple[int, ...]) -> torch.Tensor:
        if isinstance(place, RunLengths):
            return _resized(Image.fromarray(place.mask().T.astype(np.uint8) * 255), size)
        if isinstance(place, str):
            try:
                with open_picture(self.dataset_dir / place) as picture:
                    return _resized(upright(picture).convert("L"), size)
            except Exception as error:  # Pillow's plug-ins raise whatever a damaged file makes them stumble over
                raise InputError(f"The mask {self.dataset_dir / place} of the truth cannot be read.") from error
        x, y, width, height = place
        mask = torch.zeros(size, dtype=torch.bool)
        mask[_extent(x, width, size[0]), _extent(y, height, size[1])] = True
        return mask

    def _below_dataset(self, path: str) -> str:
        if (self.dataset_dir / path).exists():
            return path
        stripped = Path(*Path(path).parts[1:]).as_posix()
        return stripped if (self.dataset_dir / stripped).exists() else path


def _extent(start: float, length: float, pixels: int) -> slice:
    """A part of an axis, given in fractions, as pixels; one pixel at least, a point is the one that it lies in."""
    first = min(round(start * pixels) if length else int(start * pixels), pixels - 1)
    return slice(first, max(round((start + length) * pixels), first + 1))


def _resized(picture: Image.Image, size: tuple[int, ...]) -> torch.Tensor:
    """A grey picture as a mask on a grid of (W, H): pixels more than half covered."""
    return torch.from_numpy(np.asarray(picture.resize((size[0], size[1]), Image.Resampling.BOX)).T > 127)


def records_with_ground_truth(
    sections: Mapping[str, Sequence[dict[str, Any]]], truth: GroundTruth
) -> list[dict[str, Any]]:
    """The records of all sections whose image has a place known.

    Raises:
        InputError: when there is none.
    """
    records = [record for section in sections.values() for record in section if record["image"] in truth]
    if not records:
        raise InputError(f"The truth knows no place in any image of the sections {', '.join(sections)}.")
    return records
