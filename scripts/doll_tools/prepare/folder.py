"""``doll prepare folder``: one's own images, with a table of findings to classify or folders of masks to segment."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from doll_monai.data.datalist import IMAGE_SUFFIXES, relative_path
from doll_monai.utils.errors import InputError
from doll_tools.prepare.masks import parse_classes
from doll_tools.prepare.preparation import Count, Prepared, Radiograph, command, enter, walk
from doll_tools.prepare.tables import find_findings

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif")


@command
def prepare_folder(
    dataset_dir: str,
    csv: str | None = None,
    masks: str | tuple[str, ...] | None = None,
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
    """Files of a folder and of those below it, by name.

    Args:
        folder: the data set's folder.
        inside: the folder in it.
        suffixes: how the files' names end.

    Returns:
        path without suffix and ``mask``, relative to the inner folder, to path relative to the outer one.

    Raises:
        InputError: when there is no such folder, or two files have the same name.
    """
    if not (folder / inside).is_dir():
        raise InputError(f"The folder {folder / inside} does not exist; give the folder that holds the files.")
    files: dict[str, str] = {}
    for path in walk(folder / inside):
        suffix = max((end for end in suffixes if path.name.lower().endswith(end)), key=len, default=None)
        if suffix is not None:
            key = path.with_name(path.name[: -len(suffix)])
            enter(files, _without(("mask",), key), (PurePosixPath(inside) / path).as_posix(), folder)
    return files


def _without(words: Sequence[str], key: PurePosixPath) -> str:
    """A path without words at the beginning or end of its name, with ``_`` or ``-`` between."""
    any_word = "|".join(map(re.escape, words))
    name = re.sub(rf"^({any_word})[_-]|[_-]({any_word})$", "", key.name, flags=re.IGNORECASE)
    return (key.parent / name).as_posix()


def _find_masks(
    folder: Path, images: str, classes: Mapping[str, Sequence[str]], patient: str | None, empty_if_absent: bool
) -> Prepared:
    sources = dict.fromkeys(source for group in classes.values() for source in group)
    named = {source: files_by_name(folder, relative_path(source, "masks")) for source in sources}
    taken = {path for files in named.values() for path in files.values()}
    place = "." if images in ("", ".") else relative_path(images, "images")
    radiographs = {key: path for key, path in files_by_name(folder, place, IMAGE_SUFFIXES).items() if path not in taken}
    masks = {}
    for source, files in named.items():
        words = [Path(source).name, *(channel for channel, group in classes.items() if source in group)]
        masks[source] = _of_images(files, radiographs, words)
    found, missing, bare = [], [], 0
    for key, path in radiographs.items():
        absent = [source for source, files in masks.items() if key not in files]
        if len(absent) == len(sources):
            bare += 1
        elif absent and not empty_if_absent:
            missing.append(f"The image {folder / path} has no mask in {folder / absent[0]}.")
        else:
            own = {
                name: [masks[source][key] for source in group if key in masks[source]]
                for name, group in classes.items()
            }
            found.append(Radiograph(path, _patient(path, patient), masks=own))
    if not found:
        raise InputError(f"No image of {folder / images} has masks in {', '.join(sources)}; names must be the same.")
    lonely = sum(len(named[source]) - len(files) for source, files in masks.items())
    return Prepared(
        folder.resolve().name,
        folder,
        found,
        counts=[
            Count("images", len(radiographs)),
            Count("images with masks", len(found)),
            *(Count(f"masks in {source}", len(files)) for source, files in named.items()),
        ],
        classes=list(classes),
        notes=[f"{bare} images without any mask left out."] * bool(bare)
        + [f"{lonely} masks belong to no image."] * bool(lonely),
        missing=missing,
    )


def _of_images(files: Mapping[str, str], images: Mapping[str, str], words: Sequence[str]) -> dict[str, str]:
    """Masks by the key of their image: the image of the same name, else of the name without class or folder."""
    found = {key: path for key, path in files.items() if key in images}
    for key, path in files.items():
        other = _without(words, PurePosixPath(key))
        if key in images or other not in images:
            continue
        if other in found:
            raise InputError(f"{found[other]} and {path} would both be the mask of {images[other]}; keep one of them.")
        found[other] = path
    return found


def _patient(image: str, pattern: str | None) -> str:
    try:
        match = re.search(pattern, image) if pattern is not None else None
    except re.error as error:
        raise InputError(f"The expression '{pattern}' for patients cannot be read: {error}.") from error
    if pattern is not None and match is None:
        raise InputError(f"The expression '{pattern}' for patients finds nothing in {image}; change one of them.")
    return match.group() if match else image
