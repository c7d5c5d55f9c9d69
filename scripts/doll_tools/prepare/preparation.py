"""What all preparations share: options, counts, sections, reading every file once, and what is written.

A data set's own module finds its images and masks (``Prepared``); nothing of the data set is copied or changed.
"""

from __future__ import annotations

import functools
import inspect
import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from doll_monai.data.datalist import SECTIONS, write_datalist
from doll_monai.data.geometry import turned_back
from doll_monai.data.image_files import stem, walk
from doll_monai.data.label_files import label_file
from doll_monai.data.label_reader import MaskWarnings, Place
from doll_monai.findings import CHANNEL_DEF, FINDINGS
from doll_monai.transforms.reading import LoadRadiographd
from doll_monai.utils.atomic import write_atomic
from doll_monai.utils.errors import InputError
from doll_monai.utils.progress import Bar
from doll_tools.prepare.masks import label_array
from doll_tools.prepare.sections import VALIDATION_SHARE, choose_sections

OPTIONS = """
    output: folder for what is written: dataset.json and, with masks, labels/; or, to classify, the .json file.
    training: number of images for training; all that remain by default.
    validation: number of images for validation; the owner's, or those of a share of the patients by default.
    test: number of images for test at the most; all by default.
    validation_share: share of the patients for validation where neither a number nor the owner says more.
    seed: another seed, another split.
    check: read every image and mask, report, write nothing.
    quiet: show no progress.
"""
"""Help of the options that every preparation has, those of ``finish``."""


class Count(NamedTuple):
    """How many of one thing a data set has, and how many its owner published."""

    what: str
    found: int
    published: int | None = None


class Radiograph(NamedTuple):
    """An image and what is known of it.

    Attributes:
        image: path relative to the data set's folder, with forward slashes.
        patient: whom it shows; the image's own path where nobody says.
        pool: the owner's section, ``training``, ``validation`` or ``test``; None without a split.
        values: the 14 raw labels of an image to classify, in the order of ``FINDINGS``.
        masks: class to the files whose union it is, relative to the data set's folder or absolute; no file is an empty
            mask. None for an image to classify.
        where: table and line that name the image, for errors.
    """

    image: str
    patient: str
    pool: str | None = None
    values: Sequence[float | None] = ()
    masks: Mapping[str, Sequence[str]] | None = None
    where: str = ""


@dataclass(frozen=True)
class Prepared:
    """A data set that was looked through, before anything is written.

    Attributes:
        name: the data set's name.
        dataset_dir: folder to which images are relative.
        images: all images that can be used.
        counts: numbers found and published.
        classes: classes of the masks in the order of the label's channels; empty for images to classify.
        notes: further lines for the user.
        missing: a sentence for every image or mask that should be there and is not; their images are left out.
        files: names and contents of further files for the output, such as ``boxes.csv``.
        enlarge: how many times as large as its mask an image is, a whole number.
        inverted: what says that masks may be black on white.
    """

    name: str
    dataset_dir: Path
    images: Sequence[Radiograph]
    counts: Sequence[Count] = ()
    classes: Sequence[str] = ()
    notes: Sequence[str] = ()
    missing: Sequence[str] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)
    enlarge: int = 1
    warnings: MaskWarnings = field(default_factory=MaskWarnings)


def command(find: Callable[..., Prepared]) -> Callable[..., None]:
    """Make a command of the function that looks through a data set: with the options of ``finish``, and their help."""
    own = inspect.signature(find)
    shared = list(inspect.signature(finish).parameters.values())[1:]
    names = {option.name for option in shared}

    @functools.wraps(find)
    def program(*args: Any, **options: Any) -> None:
        prepared = find(*args, **{name: value for name, value in options.items() if name not in names})
        finish(prepared, **{name: value for name, value in options.items() if name in names})

    program.__signature__ = own.replace(parameters=[*own.parameters.values(), *shared])  # type: ignore[attr-defined]
    program.__doc__ = inspect.cleandoc(find.__doc__ or "") + OPTIONS
    return program


def finish(
    prepared: Prepared,
    *,
    output: str | None = None,
    training: int | None = None,
    validation: int | None = None,
    test: int | None = None,
    validation_share: float = VALIDATION_SHARE,
    seed: int = 0,
    check: bool = False,
    quiet: bool = False,
) -> None:
    """Print what was found, put it in sections and write ``dataset.json``, labels and further files.

    All masks are read before the first file is written, so a mistake leaves nothing behind. See ``OPTIONS``.

    Raises:
        InputError: when an image or mask is missing or unreadable, sizes do not fit, an image is there twice, or there
            are fewer images than asked for; with ``check`` after all were read.
    """
    _print_counts(prepared)
    if not prepared.images:
        raise InputError(f"{prepared.dataset_dir} has no image to use.")
    _refuse_twins(prepared)
    split = choose_sections(
        [image.pool for image in prepared.images],
        [image.patient for image in prepared.images],
        training=training,
        validation=validation,
        test=test,
        validation_share=validation_share,
        seed=seed,
    )
    chosen = [(image, section) for image, section in zip(prepared.images, split, strict=True) if section is not None]
    _print_sections(prepared, chosen)
    if not check and output is None:
        raise InputError("Give output, the folder for dataset.json, or --check to write nothing.")
    sections: dict[str, list[dict]] = {section: [] for section in SECTIONS}
    files, wrong = dict(prepared.files), list(prepared.missing)
    reads = check or bool(prepared.classes)
    for image, section in Bar(chosen, name="masks" if prepared.classes else "images", quiet=quiet or not reads):
        label: Any = _label_path(image) if prepared.classes else list(image.values)
        try:
            content = _read(image, prepared, reads)
        except InputError as error:
            wrong.append(f"{image.where}: {error}" if image.where else str(error))
            if not check:
                raise InputError(wrong[-1]) from error
            continue
        if prepared.classes:
            files[label] = content
        sections[section].append({"image": image.image, "label": label})
    if check or output is None:
        _report(wrong, len(chosen) + len(prepared.missing))
        return
    path = Path(output)
    path = path if path.suffix == ".json" else path / "dataset.json"
    for name, content in files.items():
        write_atomic(path.parent / name, content)
    labels = dict[Any, str](enumerate(prepared.classes)) or CHANNEL_DEF
    write_datalist(path, sections, name=prepared.name, labels=labels)
    print(*(path.parent / name for name in prepared.files if "/" not in name), path, sep="\n")


def find_files(folder: Path, pattern: str, inside: str = ".") -> dict[str, str]:
    """Files below a folder ``inside`` the data set's, without hidden ones and what macOS adds to archives.

    Args:
        folder: the data set's folder.
        pattern: regular expression of the files' paths below ``inside``, in any case.
        inside: relative to the data set's folder, or absolute.

    Returns:
        the pattern's groups together, in upper case, to the path, relative as ``inside`` is.

    Raises:
        InputError: when two files have the same key.
    """
    files: dict[str, str] = {}
    for place, names in walk(folder / inside):
        below = PurePosixPath(Path(place).relative_to(folder / inside).as_posix())
        for path in (below / name for name in names):
            if match := re.fullmatch(pattern, str(path), re.IGNORECASE):
                key, found = "".join(match.groups()).upper(), str(PurePosixPath(inside) / path)
                if key in files:
                    both = f"{files[key]} and {found}"
                    raise InputError(f"{folder} has {both}, which are the same by name; keep one of them.")
                files[key] = found
    return files


def join_masks(
    images: Mapping[str, str],
    masks: Mapping[str, Mapping[str, str]],
    classes: Mapping[str, Sequence[str]],
    pool: str | None = None,
    patient: Callable[[str], str] = str,
    optional: Collection[str] = (),
) -> tuple[list[Radiograph], list[str]]:
    """Images with the masks of the same key, and a sentence for each image that lacks one.

    Args:
        images: key to path.
        masks: source, such as a folder, to key to path.
        classes: class to the sources whose union it is.
        pool: the owner's section of the images.
        patient: gives the patient from an image's path; every image stands alone by default.
        optional: sources without a mask where there is nothing to mark.
    """
    found: list[Radiograph] = []
    missing: list[str] = []
    for key, path in images.items():
        absent = [source for source, files in masks.items() if key not in files and source not in optional]
        if absent:
            missing.append(f"The image {path} has no mask in {absent[0]}.")
        else:
            own = {name: [masks[at][key] for at in group if key in masks[at]] for name, group in classes.items()}
            found.append(Radiograph(path, patient(path), pool, masks=own))
    return found, missing


def raw_label(cell: str, where: str) -> float | None:
    """A label as CheXpert writes it: 1, 0, -1 (uncertain), or None where the cell is blank (not mentioned).

    ``InputError`` when it is none of these; ``where`` is file, line and column.
    """
    try:
        value = float(cell) if cell else None
    except ValueError:
        value = 2.0
    if value not in (1, 0, -1, None):
        raise InputError(f"{where} is {cell!r}; it must be 1, 0, -1 or blank.")
    return value


def _label_path(image: Radiograph) -> str:
    return f"labels/{stem(image.image)}.nii.gz"


def _refuse_twins(prepared: Prepared) -> None:
    seen: dict[str, Radiograph] = {}
    for image in prepared.images:
        first = seen.setdefault(_label_path(image) if prepared.classes else image.image, image)
        if first is not image and first.image == image.image:
            raise InputError(f"{image.where}: {image.image} occurs twice, first in {first.where}.")
        if first is not image:
            raise InputError(f"{first.image} and {image.image} would have the same label file; rename one of them.")


def _print_counts(prepared: Prepared) -> None:
    width = max(28, *(len(count.what) for count in prepared.counts), 0)
    print(f"{prepared.name} in {prepared.dataset_dir}\n{'':{width}}{'found':>12}{'published':>12}")
    different = [count for count in prepared.counts if count.published not in (None, count.found)]
    for count in prepared.counts:
        published = "-" if count.published is None else f"{count.published:,}"
        print(f"{count.what:{width}}{count.found:>12,}{published:>12}{'  differs' if count in different else ''}")
    for note in prepared.notes:
        print(note)
    if prepared.missing:
        print(f"{len(prepared.missing)} images are left out, a file is missing. {prepared.missing[0]}")
    if different:
        first = different[0]
        print(
            f"Warning: {len(different)} published numbers differ, such as {first.what}: {first.found:,} found, "
            f"{first.published:,} published; go on if a part is meant, else look for what was not downloaded."
        )


def _print_sections(prepared: Prepared, chosen: Sequence[tuple[Radiograph, str]]) -> None:
    for section in SECTIONS:
        images = [image for image, name in chosen if name == section]
        print(f"\n{section}: {len(images)} images")
        if images and not prepared.classes:
            print(f"{'':28}{'positive':>10}{'negative':>10}{'uncertain':>10}{'blank':>10}")
            for finding, column in zip(FINDINGS, zip(*(image.values for image in images), strict=True), strict=True):
                print(f"{finding:28}" + "".join(f"{column.count(value):>10}" for value in (1, 0, -1, None)))
    left_out = len(prepared.images) - len(chosen)
    print(f"\n{left_out} images left out, more than were asked for.\n" if left_out else "")


def _read(image: Radiograph, prepared: Prepared, reads: bool) -> bytes:
    """The content of an image's label, on its file's grid, without channels to classify; empty if only looked for."""
    path = prepared.dataset_dir / image.image
    if not os.path.isfile(path):
        raise InputError(f"The image {path} does not exist; unpack it again or take it out of the table.")
    if not reads:
        return b""
    pixels: Any = LoadRadiographd("image")({"image": str(path)})["image"]
    masks = [[prepared.dataset_dir / file for file in (image.masks or {})[name]] for name in prepared.classes]
    label = label_array(path, Place.of(pixels), masks, prepared.enlarge)
    if prepared.classes:
        prepared.warnings.look_at(label, f"of {path}", str(path))
    stored = np.moveaxis(turned_back(label, pixels.meta["turn"].numpy()), 0, -1)
    return label_file(stored[:, :, np.newaxis], pixels.affine.numpy(), path)


def _report(wrong: Sequence[str], images: int) -> None:
    """What is wrong with the images that were read, a sentence each."""
    if wrong:
        print(*wrong, sep="\n")
        raise InputError(
            f"{len(wrong)} of {images} images or their masks are missing or unreadable; see the lines above."
        )
    print(f"All {images} images and their masks are there and readable; nothing was written.")
