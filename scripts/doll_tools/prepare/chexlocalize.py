"""CheXlocalize (Saporta et al. 2022): validation and test images of CheXpert with masks and points of ten findings.

``gt_segmentations_val.json`` and ``gt_segmentations_test.json`` hold the masks of two radiologists, and
``hb_salient_pt_test.json`` the most representative points of three others, in pixels of the image.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from doll_monai.data.ground_truth import BOX
from doll_monai.data.run_lengths import OTHER_NAMES, read_run_lengths
from doll_monai.findings import FINDINGS, finding_index
from doll_monai.utils.errors import InputError
from doll_monai.utils.json_object import read_json_object
from doll_tools.prepare.chexpert import read_chexpert
from doll_tools.prepare.published import Count

TABLES = {"validation": "val_labels.csv", "test": "test_labels.csv"}
"""Section to the table of its images, as CheXlocalize brings them."""
MASKS = ("gt_segmentations_val.json", "gt_segmentations_test.json")
POINTS = "hb_salient_pt_test.json"

_SIZE = "img_size"


def chexlocalize_datalist(dataset_dir: str | os.PathLike[str], check_images: str = "some") -> dict[str, list[dict]]:
    """Sections ``validation`` and ``test`` of the folder ``CheXpert`` that CheXlocalize brings; one may be missing.

    Raises:
        InputError: as ``read_chexpert``, and when there is neither table.
    """
    there = {section: name for section, name in TABLES.items() if (Path(dataset_dir) / name).is_file()}
    if not there:
        raise InputError(
            f"{dataset_dir} has neither train.csv nor {' or '.join(TABLES.values())}; dataset_dir must be the folder "
            "with CheXpert's CSV files."
        )
    return {
        section: list(read_chexpert(dataset_dir, name, check_images=check_images)) for section, name in there.items()
    }


def image_name(image: str) -> str:
    """CheXlocalize's name of an image, ``patient64541_study1_view1_frontal``, the last three parts of its path."""
    return "_".join(PurePosixPath(image).with_suffix("").parts[-3:])


def truth_files(folder: str | os.PathLike[str], images: Sequence[str]) -> tuple[dict[str, bytes], list[Count]]:
    """What is known of places in images, as ``GroundTruth`` reads it.

    Args:
        folder: the folder of CheXlocalize's JSON files, or the one above it.
        images: paths of the images that are used.

    Returns:
        ``truth.json``, the masks that are not empty, of validation and test in one; ``points.csv``, the points as boxes
        without extent, which ``GroundTruth`` draws as one pixel; and how many there are.

    Raises:
        InputError: when there is no file of masks, one is no such JSON, or a point lies outside its radiograph.
    """
    place = next((path for path in (Path(folder), Path(folder) / "CheXlocalize") if _has_masks(path)), None)
    if place is None:
        raise InputError(f"{folder} has neither {' nor '.join(MASKS)}; chexlocalize must be the folder with them.")
    used = {image_name(image): image for image in images}
    masks: dict[str, dict[str, Any]] = {}
    sizes: dict[str, tuple[int, int]] = {}
    counts = []
    for name in MASKS:
        if not (place / name).is_file():
            continue
        content = read_json_object(place / name, "download CheXlocalize again")
        known = {(radiograph, channel): mask.size for radiograph, channel, mask in read_run_lengths(place / name)}
        for radiograph, findings in content.items():
            if not isinstance(findings, Mapping):
                raise InputError(f"{place / name}: {radiograph} has no masks by finding; download CheXlocalize again.")
            for finding, entry in findings.items():
                channel = finding_index(OTHER_NAMES.get(str(finding), str(finding)))
                if (radiograph, channel) in known and radiograph in used:
                    masks.setdefault(radiograph, {})[finding] = {"size": entry["size"], "counts": entry["counts"]}
                sizes[radiograph] = (int(entry["size"][1]), int(entry["size"][0]))
        counts.append(Count(f"{name}: images", len(content)))
        counts.append(Count(f"{name}: masks, not empty", len(known)))
    counts.append(Count("masks in images that are used", sum(map(len, masks.values()))))
    files = {"truth.json": (json.dumps(masks) + "\n").encode()}
    if (place / POINTS).is_file():
        points, number = _points(place / POINTS, used, sizes)
        files["points.csv"] = points
        counts.append(Count("points in images that are used", number))
    return files, counts


def _has_masks(folder: Path) -> bool:
    return any((folder / name).is_file() for name in MASKS)


def _points(path: Path, used: Mapping[str, str], sizes: Mapping[str, tuple[int, int]]) -> tuple[bytes, int]:
    """The points as a table of boxes without extent, in fractions of the image, and their number."""
    output = io.StringIO()
    writer = csv.writer(output, lineterminator="\n")
    writer.writerow(["Path", "finding", *BOX])
    number = 0
    for image, findings in read_json_object(path, "download CheXlocalize again").items():
        if image not in used or image not in sizes:
            continue
        if not isinstance(findings, Mapping):
            raise InputError(f"{path}: {image} has no points by finding; download CheXlocalize again.")
        width, height = sizes[image]
        for name, points in findings.items():
            if name == _SIZE:
                continue
            try:
                finding = FINDINGS[finding_index(OTHER_NAMES.get(str(name), str(name)))]
                fractions = [(float(x) / width, float(y) / height) for x, y in points]
            except (KeyError, TypeError, ValueError) as error:
                raise InputError(f"{path}, {image}: '{name}' is no known finding, or its points are none.") from error
            for x, y in fractions:
                if not (0 <= x < 1 and 0 <= y < 1):
                    raise InputError(f"{path}, {image}: a point of {name} lies outside the image, {width} x {height}.")
                writer.writerow([used[image], finding, f"{x:.6f}", f"{y:.6f}", 0, 0])
                number += 1
    return output.getvalue().encode(), number
