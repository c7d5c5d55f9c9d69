"""Images in one folder, masks in others: which mask belongs to which image, by their names."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from doll_monai.data.datalist import IMAGE_SUFFIXES, relative_path
from doll_monai.utils.errors import InputError
from doll_tools.prepare.preparation import PICTURES, Prepared, Radiograph
from doll_tools.prepare.published import Count
from doll_tools.prepare.sections import choose_sections


@dataclass(frozen=True)
class Found:
    """An image with its masks, before it is in a section.

    Attributes:
        image: path relative to the data set's folder.
        masks: class to mask files.
        patient: whom it shows, or the image's own name.
        pool: the owner's section, None without one.
    """

    image: str
    masks: Mapping[str, Sequence[str]]
    patient: str
    pool: str | None = None


def in_sections(
    found: Sequence[Found], *, training: int | None, validation: int | None, test: int | None, seed: int
) -> list[Radiograph]:
    """Images with their sections, without those that are left out; see ``choose_sections``."""
    split = choose_sections(
        [image.pool for image in found],
        [image.patient for image in found],
        training=training,
        validation=validation,
        test=test,
        seed=seed,
    )
    return [
        Radiograph(image.image, section, masks=image.masks)
        for image, section in zip(found, split, strict=True)
        if section is not None
    ]


def files_by_name(
    folder: Path, suffixes: Sequence[str] = PICTURES, words: Sequence[str] = ("mask",)
) -> dict[str, Path]:
    """Files of a folder and of those below it, by path without suffix.

    Hidden files and what macOS adds to archives are passed over.

    Args:
        folder: the folder.
        suffixes: how the files' names end.
        words: what is taken off the names, with ``_`` or ``-`` behind it at the beginning, or before it at the end.

    Raises:
        InputError: when there is no such folder, or two files have the same name.
    """
    if not folder.is_dir():
        raise InputError(f"The folder {folder} does not exist; give the folder that holds the files.")
    affix = _affix(words)
    files: dict[str, Path] = {}
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        for name in sorted(names):
            suffix = next((end for end in sorted(suffixes, key=len)[::-1] if name.lower().endswith(end)), None)
            if suffix is None or name.startswith("."):
                continue
            path = Path(place) / name
            stem = affix.sub("", name[: -len(suffix)])
            key = (path.parent.relative_to(folder) / stem).as_posix()
            if key in files:
                raise InputError(f"{files[key]} and {path} have the same name; keep one of them.")
            files[key] = path
    return files


def _affix(words: Sequence[str]) -> re.Pattern[str]:
    any_word = "|".join(map(re.escape, words))
    return re.compile(rf"^({any_word})[_-]|[_-]({any_word})$", re.IGNORECASE)


def _of_images(files: Mapping[str, Path], images: Mapping[str, Path], words: Sequence[str]) -> dict[str, Path]:
    """Masks by the key of their image: the image of the same name, else of the name without class or folder."""
    affix = _affix(words)
    found = {key: path for key, path in files.items() if key in images}
    for key, path in files.items():
        name = Path(key)
        other = (name.parent / affix.sub("", name.name)).as_posix()
        if key in images or other not in images:
            continue
        if other in found:
            raise InputError(f"{found[other]} and {path} would both be the mask of {images[other]}; keep one of them.")
        found[other] = path
    return found


def prepare_mask_folders(
    dataset_dir: str | os.PathLike[str],
    images: str,
    classes: Mapping[str, Sequence[str]],
    *,
    name: str,
    empty_if_absent: bool = False,
    patient: str | None = None,
    training: int | None = None,
    validation: int | None = None,
    test: int | None = None,
    seed: int = 0,
) -> Prepared:
    """Look through a folder of radiographs and folders of masks.

    A mask has its image's name, in the same subfolder, with any picture suffix, and may have ``mask_`` before or
    ``_mask`` behind it, or the name of its class or folder instead. An image without any mask is left out.

    Args:
        dataset_dir: folder to which the others are relative.
        images: folder of the radiographs; ``.`` for ``dataset_dir`` itself, whose mask folders are passed over then.
        classes: class to the folders whose masks are joined, see ``parse_classes``.
        name: the data set's name.
        empty_if_absent: an image that has a mask in one folder and none in another has nothing there; otherwise it is
            left out, and ``--check`` names it.
        patient: regular expression; what it finds in an image's path is the patient. Without it every image stands alone.
        training: see ``choose_sections``, as for the next ones.
        validation: number of radiographs for validation.
        test: number of radiographs for test at the most.
        seed: another seed, another split.

    Raises:
        InputError: when a folder is missing or leads out of the data set, no image has a mask, or an image has no patient.
    """
    folder = Path(dataset_dir)
    sources = dict.fromkeys(source for group in classes.values() for source in group)
    named = {source: files_by_name(folder / relative_path(source, "masks")) for source in sources}
    taken = {path for files in named.values() for path in files.values()}
    pattern = _compiled(patient)
    radiographs = files_by_name(
        folder / images if images in ("", ".") else folder / relative_path(images, "images"), IMAGE_SUFFIXES
    )
    radiographs = {key: path for key, path in radiographs.items() if path not in taken}
    masks = {}
    for source, files in named.items():
        words = [Path(source).name, *(channel for channel, group in classes.items() if source in group)]
        masks[source] = _of_images(files, radiographs, words)
    found, missing, bare = [], [], 0
    for key, path in radiographs.items():
        absent = [source for source, files in masks.items() if key not in files]
        if len(absent) == len(sources):
            bare += 1
            continue
        if absent and not empty_if_absent:
            missing.append(f"The image {path} has no mask in {folder / absent[0]}.")
            continue
        image = path.relative_to(folder).as_posix()
        of_image = {
            channel: [masks[source][key].relative_to(folder).as_posix() for source in group if key in masks[source]]
            for channel, group in classes.items()
        }
        found.append(Found(image, of_image, _patient(image, pattern)))
    if not found:
        raise InputError(f"No image of {folder / images} has masks in {', '.join(sources)}; names must be the same.")
    lonely = sum(len(named[source]) - len(files) for source, files in masks.items())
    return Prepared(
        name,
        folder,
        in_sections(found, training=training, validation=validation, test=test, seed=seed),
        counts=[
            Count("radiographs", len(radiographs)),
            Count("radiographs with masks", len(found)),
            *(Count(f"masks in {source}", len(files)) for source, files in named.items()),
        ],
        classes=list(classes),
        notes=[f"{bare} radiographs without any mask left out."] * bool(bare)
        + [f"{lonely} masks belong to no image."] * bool(lonely),
        missing=missing,
    )


def _compiled(pattern: str | None) -> re.Pattern[str] | None:
    try:
        return None if pattern is None else re.compile(pattern)
    except re.error as error:
        raise InputError(f"The expression '{pattern}' for patients cannot be read: {error}.") from error


def _patient(image: str, pattern: re.Pattern[str] | None) -> str:
    if pattern is None:
        return image
    match = pattern.search(image)
    if match is None:
        raise InputError(
            f"The expression '{pattern.pattern}' for patients finds nothing in {image}; change one of them."
        )
    return match.group()
