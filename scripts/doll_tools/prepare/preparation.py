"""What all preparations share: their options, counts, sections, reading every file once, and what they write.

A data set's own module finds its images and masks (``Prepared``); nothing of the data set is copied or changed.
"""

from __future__ import annotations

import csv
import functools
import inspect
import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from doll_monai.data.datalist import SECTIONS, write_datalist
from doll_monai.data.label_files import label_file
from doll_monai.findings import CHANNEL_DEF, FINDINGS
from doll_monai.transforms.reading import LoadRadiographd
from doll_monai.utils.atomic import write_atomic
from doll_monai.utils.errors import InputError
from doll_monai.utils.progress import Bar
from doll_tools.prepare.masks import label_array
from doll_tools.prepare.sections import VALIDATION_SHARE, choose_sections

SHOWN_DEFECTS = 20
LOOKED_FOR = 5000
"""Images up to which all are looked for before ``dataset.json`` is written; of more, every 100th."""

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
"""Help of the options that every preparation has."""


class Count(NamedTuple):
    """How many of one thing a data set has, and how many its owner published, if that is known."""

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


def command(find: Callable[..., Prepared]) -> Callable[..., None]:
    """Make a command of the function that looks through a data set: with the options of ``finish``, and their help."""
    own = inspect.signature(find).parameters
    output, *shared = list(inspect.signature(finish).parameters.values())[1:]
    needed = [option for option in own.values() if option.default is option.empty]
    other = [option for option in own.values() if option.default is not option.empty]
    signature = inspect.Signature([*needed, output, *other, *shared])
    texts = {name for name, option in own.items() if str(option.annotation).startswith("str")}

    @functools.wraps(find)
    def program(*args: Any, **options: Any) -> None:
        given = signature.bind(*args, **options).arguments
        for name in texts & given.keys():  # fire reads a folder that is called 2023 as a number
            given[name] = str(given[name]) if isinstance(given[name], (int, float)) else given[name]
        prepared = find(**{name: value for name, value in given.items() if name in own})
        finish(prepared, **{name: value for name, value in given.items() if name not in own})

    program.__signature__ = signature  # type: ignore[attr-defined]
    program.__doc__ = inspect.cleandoc(find.__doc__ or "") + OPTIONS
    return program


def finish(
    prepared: Prepared,
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
    bar = Bar(chosen, name="masks" if prepared.classes else "images", quiet=quiet or not (check or prepared.classes))
    if check:
        _check(prepared, bar)
        return
    if output is None:
        raise InputError("Give output, the folder for dataset.json, or --check to write nothing.")
    path = Path(str(output))
    path = path if path.suffix == ".json" else path / "dataset.json"
    if not prepared.classes:
        _look_for_some(prepared, chosen)
    sections: dict[str, list[dict]] = {section: [] for section in SECTIONS}
    files = dict(prepared.files)
    for image, section in bar:
        record: dict[str, Any] = {"image": image.image, "label": list(image.values)}
        if prepared.classes:
            record["label"] = _label_path(image)
            files[record["label"]] = label_file(*_read(image, prepared))
        sections[section].append(record)
    for name, content in files.items():
        write_atomic(path.parent / name, content)
    labels: Any = dict(enumerate(prepared.classes)) if prepared.classes else CHANNEL_DEF
    write_datalist(path, sections, name=prepared.name, labels=labels)
    print(*(path.parent / name for name in prepared.files), path, sep="\n")


def walk(folder: Path) -> Iterator[PurePosixPath]:
    """Files below a folder, relative to it, without hidden ones and what macOS adds to archives."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        inside = PurePosixPath(Path(place).relative_to(folder).as_posix())
        yield from (inside / name for name in sorted(names) if not name.startswith("."))


def enter(files: dict[str, str], key: str, path: str, folder: Path) -> None:
    """Note where a file lies; an ``InputError`` where there is another one of the same key."""
    if key in files:
        raise InputError(f"{folder} has {files[key]} and {path}, which are the same by name; keep one of them.")
    files[key] = path


def csv_file(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """The content of a CSV file."""
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([columns, *rows])
    return stream.getvalue().encode()


def raw_label(cell: str, where: str) -> float | None:
    """A label as CheXpert writes it: 1, 0, -1 (uncertain), or None where the cell is blank (not mentioned).

    Raises:
        InputError: when it is none of these; ``where`` is file, line and column.
    """
    try:
        value = float(cell) if cell else None
    except ValueError:
        value = 2.0
    if value not in (1, 0, -1, None):
        raise InputError(f"{where} is {cell!r}; it must be 1, 0, -1 or blank.")
    return value


def _label_path(image: Radiograph) -> str:
    return str(PurePosixPath("labels") / PurePosixPath(image.image).with_suffix(".nii.gz"))


def _refuse_twins(prepared: Prepared) -> None:
    seen: dict[str, Radiograph] = {}
    for image in prepared.images:
        first = seen.setdefault(_label_path(image) if prepared.classes else image.image, image)
        if first is not image and first.image == image.image:
            raise InputError(f"{image.where}: {image.image} occurs twice, first in {first.where}.")
        if first is not image:
            raise InputError(f"{first.image} and {image.image} would have the same label file; rename one of them.")


def _read(image: Radiograph, prepared: Prepared) -> tuple[np.ndarray, np.ndarray]:
    """Read an image to its end: its label, (W, H, 1, C) uint8 with 0 or 1, C is 0 to classify; and its affine."""
    path = prepared.dataset_dir / image.image
    try:
        if not path.is_file():
            raise InputError(f"The image {path} does not exist; unpack it again or take it out of the table.")
        pixels: Any = LoadRadiographd("image")({"image": str(path)})["image"]
        masks = {name: [prepared.dataset_dir / file for file in (image.masks or {})[name]] for name in prepared.classes}
        return label_array(path, tuple(pixels.shape[1:]), masks, enlarge=prepared.enlarge), pixels.affine.numpy()
    except InputError as error:
        raise InputError(f"{image.where}: {error}" if image.where else str(error)) from error


def _look_for_some(prepared: Prepared, chosen: Sequence[tuple[Radiograph, str]]) -> None:
    """Enough of the images must exist to notice a folder that is not unpacked."""
    looked_for = chosen if len(chosen) <= LOOKED_FOR else chosen[::100]
    missing = [image.image for image, _ in looked_for if not (prepared.dataset_dir / image.image).is_file()]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(looked_for)} images looked for do not exist below {prepared.dataset_dir}, first: "
            f"{missing[0]}; unpack them, --check lists all."
        )


def _print_counts(prepared: Prepared) -> None:
    width = max(28, *(len(count.what) for count in prepared.counts), 0)
    print(f"{prepared.name} in {prepared.dataset_dir}\n{'':{width}}{'found':>12}{'published':>12}")
    different = []
    for what, found, published in prepared.counts:
        if published not in (None, found):
            different.append(f"{what}: {found:,} found, {published:,} published")
        known = "-" if published is None else f"{published:,}"
        print(f"{what:{width}}{found:>12,}{known:>12}{'' if published in (None, found) else '  differs'}")
    for note in prepared.notes:
        print(note)
    if prepared.missing:
        print(f"{len(prepared.missing)} images are left out, a file is missing. {prepared.missing[0]}")
    if different:
        print(
            f"Warning: {len(different)} of {sum(count.published is not None for count in prepared.counts)} published "
            f"numbers differ, such as {different[0]}; go on if a part is meant, else look for what was not downloaded "
            "or unpacked."
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


def _check(prepared: Prepared, chosen: Iterable[tuple[Radiograph, str]]) -> None:
    """Read all images and masks and report what is wrong with them, a sentence each."""
    found, images = list(prepared.missing), len(prepared.missing)
    for image, _ in chosen:
        images += 1
        try:
            _read(image, prepared)
        except InputError as error:
            found.append(str(error))
    for sentence in found[:SHOWN_DEFECTS]:
        print(sentence)
    if len(found) > SHOWN_DEFECTS:
        print(f"... and {len(found) - SHOWN_DEFECTS} more")
    if found:
        raise InputError(
            f"{len(found)} of {images} images or their masks are missing or unreadable; see the lines above."
        )
    print(f"All {images} images and their masks are there and readable; nothing was written.")
