"""Ground truth of findings: masks or boxes, read only to evaluate."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from doll_monai.data.datalist import read_table, relative_path
from doll_monai.data.label_reader import MaskWarnings, Place, read_label
from doll_monai.findings import finding_index
from doll_monai.utils.errors import InputError, explained

Region = Path | tuple[float, ...]
BOX = ("x", "y", "width", "height")
MARGIN = 0.01
"""Share of the width or height by which a box may reach out of its image, where it is cut off."""
_PATIENT = re.compile(r"patient\d+|(?<![^/])\d{8}(?=_\d{3}\.)")


class GroundTruth:
    """Masks or boxes of findings, from a CSV with one row a region.

    The CSV's columns are ``Path`` (as in CheXpert's own CSV files, with or without the data set's folder in front),
    ``finding``, and either ``mask`` (a picture below ``dataset_dir``; or, where there is none, below the CSV's own
    folder) or ``x, y, width, height`` (fractions of width and height). Rows of one image and finding are united.
    Without a file there is no ground truth of any image.

    Raises:
        InputError: when the file is missing or no CSV, lacks a column or names an unknown finding.
    """

    @explained
    def __init__(self, path: str | os.PathLike | None, dataset_dir: str | os.PathLike) -> None:
        self.dataset_dir = Path(dataset_dir)
        self._warnings = MaskWarnings()
        self._regions: dict[str, list[tuple[int, Region]]] = {}
        if path is not None:
            for image, channel, region in self._read(path):
                self._regions.setdefault(image, []).append((channel, region))

    def _read(self, path: str | os.PathLike) -> Iterator[tuple[str, int, Region]]:
        if Path(path).suffix.lower() == ".json":
            raise InputError(
                f"{path} is no CSV; write CheXlocalize's as one with doll prepare chexpert --chexlocalize."
            )
        for line, row in read_table(path, ("Path", "finding")):
            where = f"{path}, line {line}"
            if "mask" not in row and not set(BOX) <= set(row):
                raise InputError(f"{path} needs a column mask, or the columns {', '.join(BOX)}.")
            region: Region = self._mask_file(relative_path(row["mask"], where), path) if "mask" in row else ()
            try:
                region = region or _box(*(float(row[name]) for name in BOX))
                channel = finding_index(row["finding"])
            except (KeyError, ValueError) as error:
                reason = "no known finding, or no box inside the image, in fractions of its width and height"
                raise InputError(f"{where}: {reason}.") from error
            image = relative_path(row["Path"], where)
            inside = Path(*Path(image).parts[1:])
            if not (self.dataset_dir / image).is_file() and (self.dataset_dir / inside).is_file():
                image = inside.as_posix()
            yield image, channel, region

    def _mask_file(self, mask: str, path: str | os.PathLike) -> Path:
        inside, beside = self.dataset_dir / mask, Path(path).parent / mask
        return beside if beside.is_file() and not inside.is_file() else inside

    @property
    def images(self) -> list[str]:
        """Images that have ground truth: paths below ``dataset_dir``."""
        return list(self._regions)

    def __contains__(self, image: str | os.PathLike) -> bool:
        return bool(self._of(image))

    def _of(self, image: str | os.PathLike) -> list[tuple[int, Region]]:
        return self._regions.get(self.relative(image), [])

    def channels(self, image: str | os.PathLike) -> set[int]:
        """Observations with ground truth in an image; no mask is read."""
        return {channel for channel, _ in self._of(image)}

    def relative(self, image: str | os.PathLike) -> str:
        """An image's path below ``dataset_dir``, with forward slashes."""
        return Path(os.path.relpath(image, self.dataset_dir)).as_posix()

    def masks(
        self, image: str | os.PathLike, size: tuple[int, ...], place: Place | None = None
    ) -> dict[int, torch.Tensor]:
        """Observation's channel to its mask in an image, (W, H) bool, on a grid of ``size`` that covers all of it.

        With the image's ``place`` a mask that does not lie on it is refused, see ``read_label``.
        """
        masks: dict[int, torch.Tensor] = {}
        for channel, region in self._of(image):
            mask = self._draw(region, size, place)
            masks[channel] = masks[channel] | mask if channel in masks else mask
        return masks

    def _draw(self, region: Region, size: tuple[int, ...], place: Place | None) -> torch.Tensor:
        if isinstance(region, tuple):
            x, y, width, height = region
            box = torch.zeros(size, dtype=torch.bool)
            box[_extent(x, width, size[0]), _extent(y, height, size[1])] = True
            return box
        label, _ = read_label(region, place, what="mask")
        self._warnings.look_at(label, region, place and place.path)
        gray = Image.fromarray(label.any(axis=0).T.astype(np.uint8) * 255)
        covered = np.asarray(gray.resize((size[0], size[1]), Image.Resampling.BOX)).T > 127  # more than half
        return torch.from_numpy(covered)


def patient_of(image: str) -> str:
    """The patient in an image's path: CheXpert's ``patientNNNNN``, NIH's first eight digits; else the path itself."""
    found = _PATIENT.search(image)
    return found[0] if found else image


def records_with_ground_truth(
    sections: Mapping[str, Sequence[dict[str, Any]]], ground_truth: GroundTruth
) -> list[dict[str, Any]]:
    """The records of all sections whose image has ground truth; an ``InputError`` when there is none."""
    records = [record for section in sections.values() for record in section if record["image"] in ground_truth]
    if not records:
        raise InputError(f"There is no ground truth of any image of the sections {', '.join(sections)}.")
    return records


def _box(x: float, y: float, width: float, height: float) -> tuple[float, ...]:
    """A box within the image; a ``ValueError`` where it reaches out of it by more than a hundredth, or is no box."""
    start, length = np.array([x, y]), np.array([width, height])
    if not ((start >= -MARGIN) & (start < 1) & (length >= 0) & (start + length <= 1 + MARGIN)).all():
        raise ValueError
    first = start.clip(min=0)
    return (*first, *((start + length).clip(first, 1) - first))


def _extent(start: float, length: float, pixels: int) -> slice:
    """A part of an axis, given in fractions, as pixels; one pixel at least, a point is the one that it lies in."""
    first = min(round(start * pixels) if length else int(start * pixels), pixels - 1)
    return slice(first, max(round((start + length) * pixels), first + 1))
