"""``dataset.json``, MONAI's decathlon datalist: the one contract between all stages.

``training``, ``validation`` and ``test`` are lists of records; ``image`` is a path relative to ``dataset_dir``,
``label`` a path or a list of values. An empty section is left out, MONAI stumbles over it.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from doll_monai.utils.atomic import write_atomic
from doll_monai.utils.errors import InputError
from doll_monai.utils.json_object import read_json_object

SECTIONS: tuple[str, ...] = ("training", "validation", "test")
"""Names of a datalist's sections, in the order in which they are written."""
LOOKED_FOR = 20
"""Images of a section that are looked for, to notice a wrong ``dataset_dir``: an image may be missing, not all."""
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".dcm", ".nii", ".nii.gz", ".mha", ".nrrd", ".img")
"""File names that are taken for images."""


def write_datalist(path: str | os.PathLike[str], sections: Mapping[str, Sequence[dict]], **extra: Any) -> None:
    """Write a datalist atomically, one record a line.

    Args:
        path: file to write, mostly ``dataset.json``; its folder is made if need be.
        sections: records of ``training``, ``validation`` and ``test``; an empty section is left out.
        extra: other top-level keys (``name``, ``description``, ``labels``, ...), written first.

    Raises:
        InputError: when there is no record at all, or the file cannot be written.
        ValueError: when a section has another name, or a value is not valid JSON (NaN).
    """
    unknown = sorted(set(sections) - set(SECTIONS))
    if unknown:
        raise ValueError(f"unknown section {', '.join(unknown)}; a datalist has {', '.join(SECTIONS)}")
    filled = [name for name in SECTIONS if sections.get(name)]
    if not filled:
        raise InputError(f"There is no record to write to {path}.")
    parts = [f'  "{key}": {json.dumps(value, allow_nan=False)}' for key, value in extra.items()]
    for name in filled:
        records = ",\n".join(f"    {json.dumps(record, allow_nan=False)}" for record in sections[name])
        parts.append(f'  "{name}": [\n{records}\n  ]')
    write_atomic(path, ("{\n" + ",\n".join(parts) + "\n}\n").encode())


def datalist_hash(datalist: str | os.PathLike[str]) -> str:
    """SHA-256 of a datalist, as hexadecimal digits; an ``InputError`` where the file is missing."""
    try:
        return hashlib.sha256(Path(datalist).read_bytes()).hexdigest()
    except FileNotFoundError as error:
        raise InputError(f"{datalist} does not exist.") from error


def load_datalist(
    datalist: str | os.PathLike[str],
    section: str,
    dataset_dir: str | os.PathLike[str],
    label_dir: str | os.PathLike[str] | None = None,
) -> list[dict]:
    """Records of one section with full paths.

    Args:
        datalist: the ``dataset.json``.
        section: ``training``, ``validation`` or ``test``.
        dataset_dir: folder to which ``image`` is relative. Only the first images are looked for: one must exist.
        label_dir: folder to which a ``label`` that is a path is relative; ``dataset_dir`` when None.
            A ``label`` that is a list of values (numbers, null) stays as it is.

    Raises:
        InputError: when the file is missing or no datalist, has no such records, or a record has no image or a path
            that leads out of its folder, where results would be written outside theirs; when none of the first
            images exists.
    """
    folders = {"image": dataset_dir, "label": dataset_dir if label_dir is None else label_dir}
    records = [
        {key: _join(folders[key], value) if key in folders else value for key, value in record.items()}
        for record in read_section(datalist, section)
    ]
    first = [record["image"][0] if isinstance(record["image"], list) else record["image"] for record in records]
    if not any(map(os.path.exists, first[:LOOKED_FOR])):
        raise InputError(
            f"The first image of '{section}' in {datalist} does not exist: {first[0]}; dataset_dir is {dataset_dir}."
        )
    return records


def load_if_given(
    datalist: str | os.PathLike[str] | None,
    section: str,
    dataset_dir: str | os.PathLike[str],
    label_dir: str | os.PathLike[str] | None = None,
) -> list[dict]:
    """``load_datalist``, or no records where no datalist is given."""
    return load_datalist(datalist, section, dataset_dir, label_dir) if datalist else []


def load_sections(
    datalist: str | os.PathLike[str], sections: Sequence[str], dataset_dir: str | os.PathLike[str]
) -> dict[str, list[dict]]:
    """Records of several sections, by name; see ``load_datalist``."""
    return {section: load_datalist(datalist, section, dataset_dir) for section in sections}


def find_images(
    folder: str | os.PathLike, datalist: str | os.PathLike | None = None, section: str = "test"
) -> list[dict[str, str]]:
    """Records (``image``) of the images in a folder and below, sorted by path; or those of a datalist's section.

    Raises:
        InputError: when the folder does not exist or holds no image, or the datalist has no such section.
    """
    if datalist is not None:
        return [{"image": record["image"]} for record in load_datalist(datalist, section, folder)]
    if not Path(folder).is_dir():
        raise InputError(f"The folder {folder} does not exist; give dataset_dir, a folder of radiographs.")
    images = sorted(str(path) for path in Path(folder).rglob("*") if path.name.lower().endswith(IMAGE_SUFFIXES))
    if not images:
        raise InputError(f"The folder {folder} holds no radiograph ({', '.join(IMAGE_SUFFIXES)}).")
    return [{"image": image} for image in images]


def read_section(datalist: str | os.PathLike[str], section: str) -> list[dict]:
    """Records of a section as they stand in the file, each a dictionary with an ``image``; see ``load_datalist``."""
    content = read_json_object(datalist, "write it with doll prepare")
    records = content.get(section)
    if not isinstance(records, list) or not records:
        counts = [f"{name} ({len(content[name])})" for name in SECTIONS if isinstance(content.get(name), list)]
        raise InputError(f"{datalist} has no '{section}' records; it has: {', '.join(counts) or 'none at all'}.")
    if section == "test" and not isinstance(records[0], dict):
        records = [{"image": image} for image in records]
    for number, record in enumerate(records, start=1):
        where = f"Record {number} of '{section}' in {datalist}"
        if not isinstance(record, dict) or not _is_path(record.get("image")):
            raise InputError(f"{where} has no image.")
        _check_values(record.get("label"), records[0].get("label"), where)
        for path in (record["image"], record.get("label")):
            for part in path if isinstance(path, list) else [path]:
                if isinstance(part, str):
                    relative_path(part, where)
    return records


def _check_values(label: Any, first: Any, where: str) -> None:
    """Labels that are values must be as many as in the first record, each 1, 0, -1, null or a probability."""
    if not isinstance(label, list) or _is_path(label):
        return
    if isinstance(first, list) and len(label) != len(first):
        raise InputError(f"{where} has {len(label)} labels, the first one {len(first)}.")
    for value in label:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if value is not None and not (number and (value == -1 or 0 <= value <= 1)):
            raise InputError(f"{where} has the label {value!r}; it must be 1, 0, -1, null or a probability.")


def _is_path(value: Any) -> bool:
    """Whether a value is a path, or a list of paths (several files are the channels of one image)."""
    if isinstance(value, list):
        return bool(value) and all(isinstance(item, str) and item for item in value)
    return isinstance(value, str) and bool(value)


def _join(folder: str | os.PathLike[str], value: Any) -> Any:
    if not _is_path(value):
        return value
    if isinstance(value, list):
        return [_join(folder, item) for item in value]
    return os.path.normpath(os.path.join(folder, value))


def read_table(
    path: str | os.PathLike[str], columns: Iterable[str], *, short_rows: bool = False
) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows of a CSV file as they stand there: every cell a string without surrounding blanks.

    Args:
        path: the file, UTF-8, with column names in its first row.
        columns: the columns that it must have.
        short_rows: whether a row may lack its last cells, which are blank then.

    Yields:
        line number (the header is line 1) and cells of every row.

    Raises:
        InputError: when the file is missing or unreadable, lacks a column or has it twice, or a row has not one cell a
            column.
    """
    columns = list(columns)
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            header = [name.strip() for name in next(reader, [])]
            twice = [name for name in columns if header.count(name) > 1]
            if twice:
                raise InputError(f"{path} has the column {', '.join(twice)} twice; rename one of them.")
            missing = [name for name in columns if name not in header]
            if missing:
                raise InputError(f"{path} has no column {', '.join(missing)}; it has: {', '.join(header) or 'none'}.")
            for cells in filter(None, reader):
                if short_rows:
                    cells += [""] * (len(header) - len(cells))
                if len(cells) != len(header):
                    raise InputError(f"{path}, line {reader.line_num}: {len(cells)} cells for {len(header)} columns.")
                yield reader.line_num, dict(zip(header, map(str.strip, cells), strict=True))
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is no CSV file in UTF-8: {error}.") from error


def relative_path(path: str, where: str) -> str:
    """A path of a table or datalist, without ``.`` and doubled slashes.

    Args:
        path: as it stands there.
        where: file and line, for the error.

    Raises:
        InputError: when it is blank, absolute, no possible name, or climbs out of the data set with ``..``.
    """
    windows = PureWindowsPath(path)
    if windows.drive or windows.root or ".." in windows.parts:
        raise InputError(f"{where}: the path '{path}' leads out of the data set; it must be relative, without '..'.")
    if "\0" in path:
        raise InputError(f"{where}: the path holds the character 0, which no file's name has.")
    if not windows.parts:
        raise InputError(f"{where}: the path is blank.")
    return str(PurePosixPath(path))
