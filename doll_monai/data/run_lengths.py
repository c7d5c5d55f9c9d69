"""CheXlocalize's masks: run lengths in COCO's compressed form, read without further dependencies."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from doll_monai.data.readers import MAX_PIXELS
from doll_monai.findings import finding_index
from doll_monai.utils.errors import InputError

OTHER_NAMES = {"Airspace Opacity": "Lung Opacity"}
"""CheXlocalize's names that differ from CheXpert's."""


@dataclass(frozen=True)
class RunLengths:
    """A mask as the lengths of its runs of 0 and 1, which take turns, beginning with 0, down the columns.

    They add up to the number of pixels; ``size`` is the image's (W, H).
    """

    runs: tuple[int, ...]
    size: tuple[int, int]

    @classmethod
    def from_coco(cls, counts: str, size: tuple[int, int]) -> RunLengths:
        """From COCO's compressed string (``rleFrString`` of ``pycocotools``' ``maskApi.c``).

        A run is written in groups of five bits, the lowest first, each as a character from ``0`` on; 32 says that
        more groups follow, 16 of the last group is the sign. From the fourth run on, what is written is the
        difference to the last run but one.

        Raises:
            ValueError: when the runs do not fill the mask, or it is larger than any image.
        """
        runs: list[int] = []
        value = shift = 0
        for character in counts:
            group = ord(character) - 48
            value |= (group & 31) << shift
            shift += 5
            if not 0 <= group < 64:
                raise ValueError(f"'{character}' stands for no run length.")
            if group & 32:
                continue
            if group & 16:
                value -= 1 << shift
            runs.append(value + runs[-2] if len(runs) > 2 else value)
            value = shift = 0
        if min(size) < 1 or size[0] * size[1] > MAX_PIXELS:
            raise ValueError(f"A mask has no {size[0]} x {size[1]} pixels.")
        if shift or min(runs, default=-1) < 0 or sum(runs) != size[0] * size[1]:
            raise ValueError(f"The runs do not fill {size[0]} x {size[1]} pixels.")
        return cls(tuple(runs), size)

    def mask(self) -> np.ndarray:
        """The mask, (W, H) bool."""
        return np.repeat(np.arange(len(self.runs)) % 2 == 1, self.runs).reshape(self.size)


def read_run_lengths(path: str | os.PathLike[str]) -> Iterator[tuple[str, int, RunLengths]]:
    """The masks of a file in CheXlocalize's format (``gt_segmentations_val.json``) that are not empty.

    The file has for each image, such as ``patient64541_study1_view1_frontal``, the findings, and for each of these
    ``size`` (H, W) and ``counts``. Yields the image's name, the observation's channel and the mask.

    Raises:
        InputError: when the file is missing or no such JSON, names an unknown finding, or a mask has a wrong size.
    """
    try:
        content: Any = json.loads(Path(path).read_text(encoding="utf-8"))
        images = {image: dict(findings) for image, findings in content.items()}
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist.") from error
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{path} is no JSON of images with the masks of their findings, as CheXlocalize's.") from error
    for image, findings in images.items():
        for name, entry in findings.items():
            try:
                height, width = map(int, entry["size"])
                place = RunLengths.from_coco(entry["counts"], (width, height))
                channel = finding_index(OTHER_NAMES.get(str(name), str(name)))
            except (KeyError, TypeError, ValueError, OverflowError) as error:
                raise InputError(
                    f"{path}, {image}: '{name}' is no known finding, or its size and counts are no mask."
                ) from error
            if any(place.runs[1::2]):
                yield image, channel, place
