"""CheXlocalize (Saporta et al. 2022): masks and points of ten findings in images of CheXpert.

``gt_segmentations_val.json`` and ``gt_segmentations_test.json`` hold the masks of two radiologists, and
``hb_salient_pt_test.json`` the most representative points of three others, in pixels of the image.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from doll_monai.data.datalist import csv_file
from doll_monai.data.ground_truth import BOX
from doll_monai.data.run_lengths import OTHER_NAMES, read_run_lengths
from doll_monai.findings import FINDINGS, finding_index
from doll_monai.utils.errors import InputError
from doll_monai.utils.json_object import read_json_object
from doll_tools.prepare.preparation import Count

MASKS = ("gt_segmentations_val.json", "gt_segmentations_test.json")
POINTS = "hb_salient_pt_test.json"

_AGAIN = "download CheXlocalize again"


def ground_truth_files(folder: Path, images: Sequence[str]) -> tuple[dict[str, bytes], list[Count]]:
    """CheXlocalize's ground truth of images, as ``GroundTruth`` reads it, and how much there is.

    ``folder`` has its JSON files, or a folder CheXlocalize with them. ``truth.json`` has the masks that are not empty,
    of validation and test in one; ``points.csv`` the points, as boxes without extent. ``InputError`` when there is no
    file of masks, one is no such JSON, or a point lies outside its image.
    """
    places = [place / name for place in (folder, folder / "CheXlocalize") for name in MASKS]
    places = [path for path in places if path.is_file()]
    if not places:
        raise InputError(f"{folder} has neither {' nor '.join(MASKS)}; chexlocalize must be the folder with them.")
    used = {"_".join(PurePosixPath(image).with_suffix("").parts[-3:]): image for image in images}
    masks: dict[str, dict[str, Any]] = {}
    sizes: dict[str, Sequence[int]] = {}
    counts = []
    for path in places:
        content = read_json_object(path, _AGAIN)
        shown = {(image, channel) for image, channel, _ in read_run_lengths(path)}
        for image, findings in content.items():
            for finding, entry in dict(findings).items():
                sizes[image] = entry["size"]
                if image in used and (image, _channel(finding)) in shown:
                    masks.setdefault(image, {})[finding] = {"size": entry["size"], "counts": entry["counts"]}
        counts += [Count(f"{path.name}: images", len(content)), Count(f"{path.name}: masks, not empty", len(shown))]
    counts.append(Count("masks in images that are used", sum(map(len, masks.values()))))
    files = {"truth.json": (json.dumps(masks) + "\n").encode()}
    points = places[0].with_name(POINTS)
    if points.is_file():
        rows = list(_points(points, used, sizes))
        files["points.csv"] = csv_file(("Path", "finding", *BOX), rows)
        counts.append(Count("points in images that are used", len(rows)))
    return files, counts


def _points(
    path: Path, used: Mapping[str, str], sizes: Mapping[str, Sequence[int]]
) -> Iterator[tuple[str, str, str, str, int, int]]:
    """The points as rows of boxes without extent, in fractions of the image; ``sizes`` are (H, W)."""
    for image, findings in read_json_object(path, _AGAIN).items():
        if image not in used or image not in sizes:
            continue
        height, width = sizes[image]
        for name in [name for name in findings if name != "img_size"]:
            try:
                finding = FINDINGS[_channel(name)]
                fractions = [(float(x) / width, float(y) / height) for x, y in findings[name]]
            except (KeyError, TypeError, ValueError) as error:
                raise InputError(f"{path}, {image}: '{name}' is no known finding, or its points are none.") from error
            if not all(0 <= x < 1 and 0 <= y < 1 for x, y in fractions):
                raise InputError(f"{path}, {image}: a point of {name} lies outside the image, {width} x {height}.")
            for x, y in fractions:
                yield used[image], finding, f"{x:.6f}", f"{y:.6f}", 0, 0


def _channel(name: str) -> int:
    return finding_index(OTHER_NAMES.get(name, name))
