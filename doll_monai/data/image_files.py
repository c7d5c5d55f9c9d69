"""The files of a data set: which of a folder's are images, and what is named after an image."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pydicom

from doll_monai.data.readers import read_image
from doll_monai.utils.errors import InputError

DICOM_SUFFIXES = (".dcm", ".dicom", ".dic")
IMAGE_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".nii", ".nii.gz", ".mha", ".nrrd", ".img"),
    *DICOM_SUFFIXES,
)
"""File names that are taken for images; a file of another name is one if it is DICOM."""
HIDDEN = (".", "__MACOSX")
OUTPUT_FOLDERS = ("labels", "maps", "masks")
OUTPUT_RECORDS = ("dataset.json", "provenance.json", "datastore_v2.json")
"""Files beside which such a folder is an output of ours, or of MONAI Label."""
ANNOTATED = ("final", "original")
"""Folders of MONAI Label's in its folder of labels."""
logger = logging.getLogger(__name__)


def is_utf8(name: str) -> bool:
    """Whether a name, as Python has it from the file system, can stand in a table."""
    return name.encode(errors="ignore").decode() == name


def stem(path: str | os.PathLike[str]) -> str:
    """A path without the suffix of an image; what else stands behind a dot, as in ``1.2.840.4711``, is its name."""
    text = Path(path).as_posix()
    suffix = max((end for end in IMAGE_SUFFIXES if text.lower().endswith(end)), key=len, default="")
    return text[: len(text) - len(suffix)]


def output_path(
    image: str | os.PathLike[str], dataset_dir: str | os.PathLike[str], output_dir: str | os.PathLike[str], ending: str
) -> Path:
    """The file of an image below ``output_dir``, its folders repeated: its own name with an ending instead."""
    return Path(output_dir, stem(os.path.relpath(image, dataset_dir)) + ending)


def refuse_twins(images: Iterable[str]) -> None:
    """Raises: InputError: when two images would have the same name in the output."""
    first: dict[str, str] = {}
    for image in images:
        other = first.setdefault(stem(image), image)
        if other != image:
            raise InputError(f"{other} and {image} would have the same name in the output; rename one of them.")


def find_image_files(folder: str | os.PathLike[str]) -> list[str]:
    """Images in a folder and below, sorted by path; what might be taken for one and is none is counted in the log.

    Passed over are what is hidden, masks, overlays and labels of earlier runs, and DICOM files without an image.
    """
    passed: Counter[str] = Counter()
    found = sorted(path for place, names in walk(folder, passed) for path in images_among(place, names, passed))
    if passed := +passed:
        reasons = ", ".join(f"{reason} ({count:,})" for reason, count in sorted(passed.items()))
        logger.warning(f"Passed over in {folder}: {reasons}.")
    return found


def walk(folder: str | os.PathLike[str], passed: Counter[str] | None = None) -> Iterator[tuple[str, list[str]]]:
    """Folders, links to folders followed but not in circles, each with its files; nothing that is hidden.

    ``passed`` counts what is passed over; where it is given, folders of labels are as well.
    """
    above = {os.fspath(folder): frozenset([os.path.realpath(folder)])}
    for place, folders, names in os.walk(folder, followlinks=True):
        kept, counts = [], Counter[str]() if passed is None else passed
        for name in sorted(folders):
            path = os.path.join(place, name)
            real = os.path.realpath(path)
            if name.startswith(HIDDEN):
                counts["hidden folders"] += 1
            elif not is_utf8(name):
                counts["names that are not UTF-8"] += 1
            elif real in above[place]:
                counts["links to a folder above"] += 1
            elif passed is not None and _is_output(place, name):
                counts["folders of labels"] += 1
            else:
                kept.append(name)
                above[path] = above[place] | {real}
                counts["folders named like images"] += name.lower().endswith(IMAGE_SUFFIXES)
        folders[:] = kept
        counts["hidden files"] += sum(name.startswith(".") and name.lower().endswith(IMAGE_SUFFIXES) for name in names)
        counts["names that are not UTF-8"] += sum(not is_utf8(name) for name in names)
        yield place, sorted(name for name in names if is_utf8(name) and not name.startswith("."))


def _is_output(place: str, name: str) -> bool:
    """Whether a folder holds labels or maps of an earlier run, or what annotators drew."""
    recorded = any(os.path.isfile(os.path.join(place, record)) for record in OUTPUT_RECORDS)
    annotated = name == "labels" and any(os.path.isdir(os.path.join(place, name, tag)) for tag in ANNOTATED)
    return (recorded and name in OUTPUT_FOLDERS) or annotated


def images_among(place: str, names: Sequence[str], passed: Counter[str]) -> Iterator[str]:
    """Paths of the images among the files of one folder; ``passed`` counts the others, by reason."""
    known = {name for name in names if name.lower().endswith(IMAGE_SUFFIXES)}
    overlays = {name for name in known if name.endswith("_overlay.png")}
    passed["overlays of an earlier run"] += len(overlays)
    stems = {stem(name) for name in names} | {name.removesuffix("_overlay.png") for name in overlays}
    for name in names:
        path = os.path.join(place, name)
        if name in overlays:
            continue
        if name in known and os.path.exists(path) and not os.path.isfile(path):
            passed["pipes or devices"] += 1
            continue
        if name in known and not name.lower().endswith(DICOM_SUFFIXES):
            if _belongs_to_another(name, stems) and _is_mask(path):
                passed["masks of an earlier run"] += 1
            else:
                yield path
        elif name in known or _is_dicom(path):
            if _has_image(path):
                yield path
            else:
                passed["DICOM files without an image"] += 1


def _belongs_to_another(name: str, stems: set[str]) -> bool:
    """Whether a NIfTI is named as the masks of an image: ``IMAGE_lungs.nii.gz``."""
    parts = stem(name).split("_")
    return name.endswith(".nii.gz") and any("_".join(parts[:count]) in stems for count in range(1, len(parts)))


def _is_mask(path: str) -> bool:
    """Whether a file holds whole numbers of 8 bits, none of them above 1."""
    try:
        values, _ = read_image(path)
    except InputError:
        return False
    return values.dtype == np.uint8 and bool((values <= 1).all())


def _is_dicom(path: str) -> bool:
    """Whether a file of any name says that it is DICOM: 128 bytes, then ``DICM``."""
    try:
        if not os.path.isfile(path):  # a pipe would wait for its other end
            return False
        with open(path, "rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _has_image(path: str) -> bool:
    """Whether a DICOM file has rows; one that cannot be read may have, and reading it says what is wrong."""
    try:
        return "Rows" in pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["Rows"])
    except Exception:  # pydicom raises whatever a damaged file makes it stumble over
        return True
