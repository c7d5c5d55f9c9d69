"""Images with hand-drawn masks as a datalist: one label file an image, one channel a class."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from doll_monai.data.datalist import read_table, relative_path, write_atomic
from doll_monai.data.label_files import label_file
from doll_monai.utils.errors import InputError
from doll_monai.utils.pictures import open_picture, upright
from doll_tools.prepare.patients import patient_position

LABEL_FOLDER = "labels"
PATIENT_COLUMN = "patient"

_LARGEST = {"|b1": 1, "|u1": 255, "<u2": 65535, ">u2": 65535, "<i4": 65535}
_logger = logging.getLogger(__name__)

Progress = Callable[[Sequence[tuple[int, dict[str, str]]]], Iterable[tuple[int, dict[str, str]]]]


def mask_records(
    csv: str | os.PathLike[str],
    classes: str | Sequence[str] | Mapping[str, Sequence[str]],
    output: str | os.PathLike[str],
    *,
    training: int,
    validation: int,
    test: int | None = None,
    seed: int = 0,
    dataset_dir: str | os.PathLike[str] | None = None,
    image: str = "image",
    patient: str | None = None,
    progress: Progress = iter,
    check: bool = False,
) -> dict[str, list[dict]]:
    """Write the label file of every radiograph that is used, ``labels/<image without extension>.nii.gz`` below ``output``.

    All images and masks are read before the first file is written, so a mistake leaves nothing behind.

    Args:
        csv: table with a column of images and columns of masks; a blank cell is an empty mask.
        classes: see ``parse_classes``.
        output: folder for the label files.
        training: number of images for training.
        validation: number of images for validation. See ``split_images``.
        test: number of images for test at the most; all the rest by default. See ``limit_test``.
        seed: another seed, another split.
        dataset_dir: folder to which images and masks are relative; the table's folder when None.
        image: name of the column of images.
        patient: name of the column of patients; None uses ``patient`` where there is one, else every radiograph stands alone.
        progress: wraps the rows while they are read, ``doll_monai.utils.progress.Bar`` for instance.
        check: read everything and write nothing.

    Returns:
        records of ``training``, ``validation`` and ``test``, in the table's order: ``image`` relative to
        ``dataset_dir``, ``label`` relative to ``output``.

    Raises:
        InputError: when a column or file is missing, an image or mask is unreadable or of another size than its radiograph,
            a radiograph occurs twice, or there are fewer images than asked for.
    """
    columns = parse_classes(classes)
    folder = Path(csv).parent if dataset_dir is None else Path(dataset_dir)
    wanted = [image, *(column for group in columns.values() for column in group)]
    rows = list(read_table(csv, [*dict.fromkeys(wanted), *([patient] if patient is not None else [])]))
    if not rows:
        raise InputError(f"{csv} has no rows.")
    if patient is None and PATIENT_COLUMN in rows[0][1]:
        patient = PATIENT_COLUMN
    records: list[dict] = []
    patients: list[str] = []
    lines: dict[str, int] = {}
    for line, row in rows:
        where = f"{csv}, line {line}"
        radiograph = relative_path(row[image], where)
        label = str(PurePosixPath(LABEL_FOLDER) / PurePosixPath(radiograph).with_suffix(".nii.gz"))
        if label in lines:
            raise InputError(f"{where}: {radiograph} and line {lines[label]} have the same label file, {label}.")
        lines[label] = line
        records.append({"image": radiograph, "label": label})
        patients.append(radiograph if patient is None else row[patient])
        if not patients[-1]:
            raise InputError(f"{where}: {patient} is blank.")
    split = split_images(patients, training, validation, seed)
    surplus = Counter(split)[None]
    if surplus:
        _logger.info("%d images left out, their patients have other images in a section that is full", surplus)
    if test is not None:
        split = limit_test(split, patients, test, seed)
    chosen = [index for index, section in enumerate(split) if section is not None]
    rows, records = [rows[index] for index in chosen], [records[index] for index in chosen]
    split = [split[index] for index in chosen]
    contents = []
    for (line, row), record in zip(progress(rows), records, strict=True):
        masks = {
            name: [folder / relative_path(row[column], f"{csv}, line {line}") for column in group if row[column]]
            for name, group in columns.items()
        }
        try:
            contents.append(label_file(label_array(folder / record["image"], masks)))
        except InputError as error:
            raise InputError(f"{csv}, line {line}: {error}") from error
    for record, content in zip(records, contents, strict=True) if not check else ():
        write_atomic(Path(output) / record["label"], content)
    return {
        section: [record for record, name in zip(records, split, strict=True) if name == section]
        for section in ("training", "validation", "test")
    }


def parse_classes(classes: str | Sequence[str] | Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Classes and the mask columns whose union each is.

    Args:
        classes: ``lungs=right_lung+left_lung,heart=heart``, or a sequence of such parts (``fire`` makes a
            tuple of some), or a mapping. ``heart`` alone is ``heart=heart``.

    Returns:
        class to columns; the order of the classes is the order of the label's channels.

    Raises:
        InputError: when a part cannot be read or a class occurs twice.
    """
    if isinstance(classes, Mapping):
        classes = [f"{name}={'+'.join(columns)}" for name, columns in classes.items()]
    parts = classes.split(",") if isinstance(classes, str) else classes
    if not isinstance(parts, Sequence) or not all(isinstance(part, str) for part in parts):
        raise InputError(f"The classes {classes} cannot be read; write name=column+column,name=column.")
    result: dict[str, tuple[str, ...]] = {}
    for part in parts:
        name, equals, right = (piece.strip() for piece in part.partition("="))
        columns = tuple(column.strip() for column in (right if equals else name).split("+"))
        if not name or not all(columns) or "=" in right or (not equals and len(columns) > 1):
            raise InputError(f"The class '{part}' cannot be read; write name=column or name=column+column.")
        if name in result:
            raise InputError(f"The class '{name}' occurs twice; join its columns with +.")
        result[name] = columns
    if not result:
        raise InputError("There is no class; write name=column+column,name=column.")
    return result


def split_images(patients: Sequence[str], training: int, validation: int, seed: int) -> list[str | None]:
    """Section of every image; no patient has images in two sections.

    Patients are taken in the order of a hash of seed and name: first for validation, so that it is the same for every
    number of training images, then for training, so that few training images are among the many; the rest is test.
    A patient with more images than a section still needs gives as many as it needs.

    Args:
        patients: the patient of every image.
        training: number of images for training.
        validation: number of images for validation.
        seed: another seed, another order.

    Returns:
        for every image ``training``, ``validation``, ``test``, or None for a surplus image of a patient.

    Raises:
        InputError: when a number is no whole number >= 0, or there are fewer images than asked for.
    """
    images: dict[str, list[int]] = {}
    for index, patient in enumerate(patients):
        images.setdefault(patient, []).append(index)
    order = sorted(images, key=lambda patient: (patient_position(patient, seed), patient))
    result: list[str | None] = [None] * len(patients)
    for section, number in (("validation", validation), ("training", training)):
        if isinstance(number, bool) or not isinstance(number, int) or number < 0:
            raise InputError(f"The number of {section} images is {number}; it must be a whole number, 0 or more.")
        while number > 0:
            if not order:
                raise InputError(
                    f"{training} training and {validation} validation images are asked for; the {len(patients)} images "
                    f"of {len(images)} patients do not give as many."
                )
            taken = images[order.pop(0)][:number]
            number -= len(taken)
            for index in taken:
                result[index] = section
    for patient in order:
        for index in images[patient]:
            result[index] = "test"
    return result


def limit_test(split: Sequence[str | None], patients: Sequence[str], test: int, seed: int) -> list[str | None]:
    """Keep some of the test images, the same ones for every number of training images.

    Args:
        split: section of every image.
        patients: the patient of every image.
        test: images to keep; those whose patients come last in the order of ``split_images``.
        seed: the seed of that order.

    Raises:
        InputError: when the number is not positive.
    """
    if test < 1:
        raise InputError(f"test must be a number of images of at least 1, not {test}.")
    images = [index for index, section in enumerate(split) if section == "test"]
    images.sort(key=lambda index: (patient_position(patients[index], seed), patients[index], index))
    dropped = set(images[:-test])
    return [None if index in dropped else section for index, section in enumerate(split)]


def label_array(
    image: str | os.PathLike[str],
    masks: Mapping[str, Sequence[str | os.PathLike[str]]],
    *,
    size: tuple[int, int] | None = None,
    enlarge: int = 1,
) -> np.ndarray:
    """Label of one image.

    Args:
        image: the image, a picture; it gives the size.
        masks: class to the picture files whose union it is; no file is an empty mask.
        size: the image's (W, H) where it is known, so that the image is not read.
        enlarge: a mask that is so many times smaller than its image, a whole number, has each pixel repeated.

    Returns:
        (W, H, 1, C) uint8, 0 or 1: ``LoadImage(ensure_channel_first=True)`` turns such a file into (C, W, H, 1),
        with the axes in which it loads the image, (1, W, H).

    Raises:
        InputError: when a file is missing or unreadable, or a mask has another size than the image.
    """
    height, width = _read_picture(image).shape[:2] if size is None else size[::-1]
    label = np.zeros((width, height, 1, len(masks)), dtype=np.uint8)
    for channel, files in enumerate(masks.values()):
        for file in files:
            mask = read_mask(file)
            if enlarge > 1 and mask.shape == (height / enlarge, width / enlarge):
                mask = mask.repeat(enlarge, axis=0).repeat(enlarge, axis=1)
            if mask.shape != (height, width):
                raise InputError(
                    f"the mask {file} has {mask.shape[1]} x {mask.shape[0]} pixels, its image {image} {width} x {height}."
                )
            label[:, :, 0, channel] |= mask.T.astype(np.uint8)
    return label


def read_mask(path: str | os.PathLike[str]) -> np.ndarray:
    """Foreground of a mask picture: above half of what its type can hold, or 1 where 1 is its maximum.

    Returns:
        (H, W) bool. Of a colored mask the brightest color channel counts, its opacity does not.

    Raises:
        InputError: when the file is missing, unreadable, of an unusual type, or has values up to half of what its type
            can hold, which are the numbers of classes rather than a mask.
    """
    values = _read_picture(path)
    if values.ndim == 3:
        colors = values.shape[2] - (values.shape[2] in (2, 4))
        values = values[:, :, :colors].max(axis=2)
    if values.dtype.str not in _LARGEST:
        raise InputError(f"the mask {path} has values of type {values.dtype}; save it with 8 or 16 bit.")
    highest = int(values.max())
    if highest <= 1:
        return values > 0
    half = _LARGEST[values.dtype.str] // 2
    if highest <= half:
        raise InputError(
            f"the mask {path} has values up to {highest}, none above {half}; save it with 0 and 1, or 0 and "
            f"{2 * half + 1}."
        )
    return values > half


def _read_picture(path: str | os.PathLike[str]) -> np.ndarray:
    """A picture's pixels as viewers show them, (H, W) or (H, W, channels); a palette is resolved to its colors."""
    try:
        with open_picture(path) as stored:
            picture = upright(stored)
            return np.asarray(picture.convert("RGB") if picture.mode == "P" else picture)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist.") from error
    except Exception as error:  # Pillow's plug-ins raise whatever a damaged file makes them stumble over
        raise InputError(f"{path} cannot be read as a picture.") from error
