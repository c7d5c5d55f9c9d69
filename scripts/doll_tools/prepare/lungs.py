"""Lung masks of Montgomery County and Shenzhen Hospital (Jaeger et al. 2014), each as it is distributed.

Montgomery has ``MontgomerySet/CXR_png`` with ``ManualMask/leftMask`` and ``rightMask``; Shenzhen has
``ChinaSet_AllFiles/CXR_png``, and masks from another place (Stirenko et al. 2018) in a folder ``mask`` or ``masks``,
``CHNCXR_0001_0_mask.png``, for part of the images.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from pathlib import Path

from doll_monai.utils.errors import InputError
from doll_tools.prepare.mask_folders import Found, in_sections
from doll_tools.prepare.preparation import Prepared
from doll_tools.prepare.published import Count

SETS = {"MCUCXR": ("Montgomery", 138, 138), "CHNCXR": ("Shenzhen", 662, 566)}
"""Beginning of the file names: name, images, images with masks."""

_NAME = re.compile(r"(?P<image>(?P<set>MCUCXR|CHNCXR)_\d{4}_[01])(_mask)?\.png", re.IGNORECASE)
_SIDES = ("leftMask", "rightMask")


def prepare(
    dataset_dir: str | os.PathLike[str],
    *,
    training: int | None = None,
    validation: int | None = None,
    test: int | None = None,
    seed: int = 0,
) -> Prepared:
    """Look for images and masks of both sets in a folder and all folders below it.

    A radiograph lies in a folder ``CXR_png``, a mask in a folder whose name has ``mask`` in it. The two masks of Montgomery
    are joined. Each radiograph is of another patient. Images without masks are left out; see ``choose_sections`` for the rest.

    Raises:
        InputError: when there is no radiograph with a mask, or a radiograph or mask is there twice.
    """
    folder = Path(dataset_dir)
    images: dict[str, str] = {}
    masks: dict[str, dict[str, str]] = defaultdict(dict)
    for place, folders, names in os.walk(folder):
        folders.sort()
        inside = Path(place).name
        for name in sorted(names):
            match = _NAME.fullmatch(name)
            if match is None:
                continue
            radiograph, path = match["radiograph"].upper(), (Path(place) / name).relative_to(folder).as_posix()
            if "mask" in inside.lower():
                _enter(masks[radiograph], inside if inside in _SIDES else "both", path, folder)
            elif inside == "CXR_png":
                _enter(images, radiograph, path, folder)
    found, missing = [], []
    for radiograph, image in images.items():
        sides = masks.get(radiograph, {})
        if not sides:
            continue
        absent = [side for side in _SIDES if side not in sides]
        if "both" in sides:
            found.append(Found(image, {"lungs": [sides["both"]]}, radiograph))
        elif absent:
            missing.append(f"The mask {folder / next(iter(sides.values()))} has none of the other lung in {absent[0]}.")
        else:
            found.append(Found(image, {"lungs": [sides[side] for side in _SIDES]}, radiograph))
    if not found:
        raise InputError(
            f"{folder} has no radiograph in a folder CXR_png with its mask in a folder leftMask, rightMask, mask or masks; "
            "dataset_dir must be above all of them, other images need images and masks."
        )
    counts = []
    for prefix, (name, number, annotated) in SETS.items():
        there = sum(radiograph.startswith(prefix) for radiograph in images)
        if there:
            counts.append(Count(f"{name}, images", there, number))
            counts.append(
                Count(
                    f"{name}, with masks", sum(radiograph.patient.startswith(prefix) for radiograph in found), annotated
                )
            )
    return Prepared(
        "Lungs of " + " and ".join(count.what.partition(",")[0] for count in counts[::2]),
        folder,
        in_sections(found, training=training, validation=validation, test=test, seed=seed),
        counts=counts,
        classes=["lungs"],
        notes=[f"{len(images) - len(found) - len(missing)} images without masks left out."]
        * (len(images) > len(found) + len(missing)),
        missing=missing,
    )


def _enter(files: dict[str, str], key: str, path: str, folder: Path) -> None:
    if key in files:
        raise InputError(f"{folder} has {files[key]} and {path}; give a folder that has each image and mask once.")
    files[key] = path
