"""CheXlocalize (Saporta et al. 2022): masks and points of ten findings in images of CheXpert.

``gt_segmentations_val.json`` and ``gt_segmentations_test.json`` hold the masks of two radiologists, and
``hb_salient_pt_test.json`` the most representative points of three others, in pixels of the image. Images are named by
the last three parts of their path, ``patient64541_study1_view1_frontal``. Masks are run lengths in COCO's compressed
form, read here without further dependencies.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from doll_monai.data.datalist import csv_file
from doll_monai.data.ground_truth import BOX
from doll_monai.data.readers import MAX_PIXELS
from doll_monai.findings import FINDINGS, finding_index
from doll_monai.utils.errors import InputError
from doll_monai.utils.json_object import read_json_object
from doll_monai.visualize.pictures import encode_picture
from doll_tools.prepare.preparation import Count

MASKS = ("gt_segmentations_val.json", "gt_segmentations_test.json")
POINTS = "hb_salient_pt_test.json"
OTHER_NAMES = {"Airspace Opacity": "Lung Opacity"}
"""CheXlocalize's names that differ from CheXpert's."""

_AGAIN = "download CheXlocalize again"


class Mask(NamedTuple):
    """A mask of CheXlocalize: the image's name there, the finding, (W, H), and the run lengths of ``run_lengths``."""

    image: str
    finding: str
    size: tuple[int, int]
    runs: list[int]

    @property
    def pixels(self) -> np.ndarray:
        """(W, H) bool."""
        return np.repeat(np.arange(len(self.runs)) % 2 == 1, self.runs).reshape(self.size)


def ground_truth_files(folder: Path, images: Sequence[str]) -> tuple[dict[str, bytes], list[Count]]:
    """CheXlocalize's ground truth of images, as ``GroundTruth`` reads it, and how much there is.

    ``folder`` has its JSON files, or a folder CheXlocalize with them. ``truth.csv`` lists the masks that are not empty,
    of validation and test in one, which lie below ``masks`` as PNG files of one bit a pixel; ``points.csv`` has the
    points, as boxes without extent. ``InputError`` when there is no file of masks, one is no such JSON, or a point lies
    outside its image.
    """
    places = [place / name for place in (folder, folder / "CheXlocalize") for name in MASKS]
    places = [path for path in places if path.is_file()]
    if not places:
        raise InputError(f"{folder} has neither {' nor '.join(MASKS)}; chexlocalize must be the folder with them.")
    used: dict[str, list[str]] = {}
    for image in images:
        used.setdefault("_".join(PurePosixPath(image).with_suffix("").parts[-3:]), []).append(image)
    files: dict[str, bytes] = {}
    rows: list[tuple[str, str, str]] = []
    sizes: dict[str, tuple[int, int]] = {}
    counts = []
    for path in places:
        masks = list(read_masks(path))
        sizes |= {mask.image: mask.size for mask in masks}
        shown = [mask for mask in masks if any(mask.runs[1::2])]
        for mask in shown:
            if mask.image in used:
                name = f"masks/{mask.image}/{mask.finding.replace(' ', '_')}.png"
                files[name] = encode_picture(mask.pixels.T)
                rows += [(image, mask.finding, name) for image in used[mask.image]]
        counts.append(Count(f"{path.name}: images", len({mask.image for mask in masks})))
        counts.append(Count(f"{path.name}: masks, not empty", len(shown)))
    counts.append(Count("masks in images that are used", len(rows)))
    files["truth.csv"] = csv_file(("Path", "finding", "mask"), rows)
    points = places[0].with_name(POINTS)
    if points.is_file():
        found = [
            (image, finding, f"{x:.6f}", f"{y:.6f}", 0, 0)
            for name, finding, x, y in _points(points, {name: sizes[name] for name in used if name in sizes})
            for image in used[name]
        ]
        files["points.csv"] = csv_file(("Path", "finding", *BOX), found)
        counts.append(Count("points in images that are used", len(found)))
    return files, counts


def read_masks(path: Path) -> Iterator[Mask]:
    """All masks of one of ``MASKS``, which has for each image its findings, and for each of these size and counts.

    ``InputError`` when the file is missing or no such JSON, names an unknown finding, or a mask has a wrong size.
    """
    for image, findings in read_json_object(path, _AGAIN).items():
        if not isinstance(findings, dict):
            raise InputError(f"{path}, {image} must hold an object of its findings; {_AGAIN}.")
        for name, entry in findings.items():
            try:
                height, width = map(int, entry["size"])
                mask = Mask(image, _finding(name), (width, height), run_lengths(entry["counts"], (width, height)))
            except (KeyError, TypeError, ValueError, OverflowError) as error:
                raise InputError(
                    f"{path}, {image}: '{name}' is no known finding, or its size and counts are no mask."
                ) from error
            yield mask


def run_lengths(counts: str, size: tuple[int, int]) -> list[int]:
    """Lengths of a mask's runs of 0 and 1, which take turns, beginning with 0, down the columns of an image (W, H).

    ``counts`` is COCO's compressed string (``rleFrString`` of ``pycocotools``' ``maskApi.c``). A run is written in
    groups of five bits, the lowest first, each as a character from ``0`` on; 32 says that more groups follow, 16 of the
    last group is the sign. From the fourth run on, what is written is the difference to the last run but one.

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
    return runs


def _points(path: Path, sizes: dict[str, tuple[int, int]]) -> Iterator[tuple[str, str, float, float]]:
    """Image's name, finding, and the point as fractions of width and height, of the images whose (W, H) are given."""
    for image, findings in read_json_object(path, _AGAIN).items():
        if image not in sizes:
            continue
        width, height = sizes[image]
        for name in [name for name in findings if name != "img_size"]:
            try:
                finding = _finding(name)
                fractions = [(float(x) / width, float(y) / height) for x, y in findings[name]]
            except (KeyError, TypeError, ValueError) as error:
                raise InputError(f"{path}, {image}: '{name}' is no known finding, or its points are none.") from error
            if not all(0 <= x < 1 and 0 <= y < 1 for x, y in fractions):
                raise InputError(f"{path}, {image}: a point of {name} lies outside the image, {width} x {height}.")
            for x, y in fractions:
                yield image, finding, x, y


def _finding(name: str) -> str:
    return FINDINGS[finding_index(OTHER_NAMES.get(name, name))]
