"""``doll prepare folder``: one's own images, with a table of findings to classify or folders of masks to segment."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from doll_monai.data.datalist import relative_path
from doll_monai.data.image_files import IMAGE_SUFFIXES, find_image_files
from doll_monai.utils.errors import InputError
from doll_tools.prepare.masks import parse_classes
from doll_tools.prepare.preparation import Count, Prepared, command, find_files, join_masks
from doll_tools.prepare.tables import find_findings

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif")


@command
def prepare_folder(
    dataset_dir: str,
    csv: str | None = None,
    masks: str | None = None,
    images: str = ".",
    image: str = "image",
    patient: str | None = None,
    empty_if_absent: bool = False,
) -> Prepared:
    """One's own images: findings from a table, or masks from folders.

    A table has a column of images and columns named as CheXpert's observations with 1, 0, -1 or blank; columns
    "patient" and "section" are known. A mask has its image's name, in the same subfolder, with any picture suffix, and
    may have "mask_" before or "_mask" behind it, or the name of its class or folder instead. An image without any mask
    is left out.

    Examples: doll prepare folder --dataset_dir OWN --csv OWN/findings.csv --output output/own;
    doll prepare folder --dataset_dir OWN --images images --masks "lungs=right+left,heart" --output output/own

    Args:
        dataset_dir: folder to which images and masks are relative.
        csv: table with a row an image and a column an observation.
        masks: class=folder+folder,class=folder: the classes and the folders of their masks.
        images: with masks, the folder of the images.
        image: with csv, the name of the column of images.
        patient: with csv, the name of the column of patients; with masks, a regular expression that finds the patient
            in an image's path. Without it every image stands alone, unless the table has a column patient.
        empty_if_absent: with masks, an image that has a mask in one folder and none in another has nothing there.
    """
    if csv is not None and masks is None:
        return find_findings(dataset_dir, csv, image, patient)
    if csv is not None or masks is None:
        raise InputError("Give csv, a table of findings, or masks, folders of masks; one of the two.")
    return _find_masks(Path(dataset_dir), images, parse_classes(masks), patient, empty_if_absent)


def files_by_name(folder: Path, inside: str, suffixes: Sequence[str] = PICTURES) -> dict[str, str]:
    """Files of a folder, by their path without suffix and ``mask``; see ``find_files``."""
    if not (folder / inside).is_dir():
        raise InputError(f"The folder {folder / inside} does not exist; give the folder that holds the files.")
    ends = "|".join(map(re.escape, suffixes))
    return find_files(folder, f"{_name_without('mask')}(?:{ends})", inside)


def _name_without(*words: str) -> str:
    """A pattern whose groups are a path without words before or behind its name, with ``_`` or ``-`` between."""
    word = "|".join(map(re.escape, words))
    return f"((?:.*/)?)(?:(?:{word})[_-])?([^/]+?)(?:[_-](?:{word}))?"


def _find_masks(
    folder: Path, images: str, classes: Mapping[str, Sequence[str]], patient: str | None, empty_if_absent: bool
) -> Prepared:
    sources = dict.fromkeys(source for group in classes.values() for source in group)
    named = {source: files_by_name(folder, relative_path(source, "masks")) for source in sources}
    taken = {path for files in named.values() for path in files.values()}
    place = "." if images in ("", ".") else relative_path(images, "images")
    named_files = files_by_name(folder, place, (*IMAGE_SUFFIXES, ""))
    images_found = {Path(os.path.relpath(path, folder)).as_posix() for path in find_image_files(folder / place)} - taken
    radiographs = {key: path for key, path in named_files.items() if path in images_found}
    masks = {}
    for source, files in named.items():
        words = [Path(source).name, *(name for name, group in classes.items() if source in group)]
        masks[source] = _of_images(files, radiographs, words)
    drawn = radiographs.keys() & {key for files in masks.values() for key in files}
    found, missing = join_masks(
        {key: path for key, path in radiographs.items() if key in drawn},
        masks,
        classes,
        patient=lambda path: _patient(path, patient),
        optional=masks if empty_if_absent else (),
    )
    if not found:
        raise InputError(f"No image of {folder / images} has masks in {', '.join(sources)}; names must be the same.")
    lonely = sum(len(named[source]) - len(files) for source, files in masks.items())
    counts = [Count("images", len(radiographs)), Count("images with masks", len(found))]
    counts += [Count(f"masks in {source}", len(files)) for source, files in named.items()]
    notes = [
        f"{len(radiographs) - len(drawn)} images without any mask left out.",
        f"{lonely} masks belong to no image.",
    ]
    return Prepared(folder.resolve().name, folder, found, counts, list(classes), notes, missing)


def _of_images(files: Mapping[str, str], images: Mapping[str, str], words: Sequence[str]) -> dict[str, str]:
    """Masks by the key of their image: the image of the same name, else of the name without class or folder."""
    found = {key: path for key, path in files.items() if key in images}
    for key, path in files.items():
        match = re.fullmatch(_name_without(*words), key, re.IGNORECASE)
        other = "".join(match.groups()) if match else key
        if key in images or other not in images:
            continue
        if other in found:
            raise InputError(f"{found[other]} and {path} would both be the mask of {images[other]}; keep one of them.")
        found[other] = path
    return found


def _patient(image: str, pattern: str | None) -> str:
    if pattern is None:
        return image
    try:
        match = re.search(pattern, image)
    except re.error as error:
        raise InputError(f"The expression '{pattern}' for patients cannot be read: {error}.") from error
    if match is None:
        raise InputError(f"The expression '{pattern}' for patients finds nothing in {image}; change one of them.")
    return match.group()
