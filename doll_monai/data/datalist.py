"""``dataset.json``, MONAI's decathlon datalist: the one contract between all stages.

``training``, ``validation`` and ``test`` are lists of records; ``image`` is a path relative to ``dataset_dir``,
``label`` a path or a list of values. An empty section is left out, MONAI stumbles over it.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from doll_monai.data.image_files import IMAGE_SUFFIXES, find_image_files, is_utf8, output_path
from doll_monai.utils.atomic import write_atomic
from doll_monai.utils.errors import InputError
from doll_monai.utils.json_object import read_json_object

SECTIONS: tuple[str, ...] = ("training", "validation", "test")
LOOKED_FOR = 20
"""Images of a section that are looked for, to notice a wrong ``dataset_dir``: an image may be missing, not all."""


def write_datalist(path: str | os.PathLike[str], sections: Mapping[str, Sequence[dict]], **extra: Any) -> None:
    """Write a datalist atomically, one record a line; ``extra`` are other top-level keys, written first.

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
    if not Path(datalist).is_file():
        raise InputError(f"{datalist} does not exist; write it with doll prepare.")
    return hashlib.sha256(Path(datalist).read_bytes()).hexdigest()


def load_datalist(
    datalist: str | os.PathLike[str] | None,
    section: str,
    dataset_dir: str | os.PathLike[str],
    label_dir: str | os.PathLike[str] | None = None,
) -> list[dict]:
    """Records of one section with full paths; none where no datalist is given.

    ``image`` is relative to ``dataset_dir``, a ``label`` that is a path to ``label_dir`` (``dataset_dir`` when None); a
    ``label`` that is a list of values (numbers, null) stays as it is.

    Raises:
        InputError: when the file is missing or no datalist, has no such records, or a record has no image or a path
            that leads out of its folder, where results would be written outside theirs; when none of the first
            images exists.
    """
    if not datalist:
        return []
    folders = {"image": dataset_dir, "label": dataset_dir if label_dir is None else label_dir}
    records = [dict(record) for record in read_section(datalist, section)]
    for record in records:
        for key, folder in folders.items():
            if isinstance(record.get(key), str):
                record[key] = os.path.normpath(os.path.join(folder, record[key]))
    if not any(os.path.exists(record["image"]) for record in records[:LOOKED_FOR]):
        first = records[0]["image"]
        raise InputError(
            f"The first image of '{section}' in {datalist} does not exist: {first}; dataset_dir is {dataset_dir}."
        )
    return records


def load_sections(
    datalist: str | os.PathLike[str], sections: Sequence[str], dataset_dir: str | os.PathLike[str]
) -> dict[str, list[dict]]:
    """Records of several sections, by name; see ``load_datalist``."""
    return {section: load_datalist(datalist, section, dataset_dir) for section in sections}


def with_masks(
    sections: Mapping[str, Sequence[dict]],
    mask_dir: str | os.PathLike[str] | None,
    dataset_dir: str | os.PathLike[str],
    ending: str,
) -> Mapping[str, Sequence[dict]]:
    """Records of several sections, each with the mask of its image as ``organs``; None as ``mask_dir`` adds none.

    Masks lie below ``mask_dir`` as inference writes them, in the images' folders and with ``ending`` for the suffix. An
    ``InputError`` names the first that is missing.
    """
    if mask_dir is None:
        return sections
    found: dict[str, list[dict]] = {}
    for name, records in sections.items():
        for record in records:
            mask = output_path(record["image"], dataset_dir, mask_dir, ending)
            if not mask.is_file():
                raise InputError(f"The mask {mask} does not exist; segment all images of the datalist first.")
            found.setdefault(name, []).append({**record, "organs": str(mask)})
    return found


def find_images(
    folder: str | os.PathLike, datalist: str | os.PathLike | None = None, section: str | Sequence[str] = "test"
) -> list[dict[str, str]]:
    """Records (``image``) of the images in a folder and below, sorted by path; or those of a datalist's sections.

    See ``find_image_files`` for what is taken for an image.

    Raises:
        InputError: when the folder does not exist or holds no image, or the datalist has no such section.
    """
    if datalist is not None:
        sections = load_sections(datalist, [section] if isinstance(section, str) else section, folder)
        return [{"image": record["image"]} for records in sections.values() for record in records]
    if not Path(folder).is_dir():
        raise InputError(f"The folder {folder} does not exist; give a folder of radiographs.")
    images = find_image_files(folder)
    if not images:
        raise InputError(f"The folder {folder} holds no radiograph ({', '.join(IMAGE_SUFFIXES)}, DICOM of any name).")
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
        if not isinstance(record, dict) or not isinstance(record.get("image"), str) or not record["image"]:
            raise InputError(f"{where} has no image.")
        relative_path(record["image"], where)
        if isinstance(record.get("label"), str):
            relative_path(record["label"], where)
        elif isinstance(record.get("label"), list):
            _check_values(record["label"], records[0].get("label"), where)
    return records


def _check_values(label: list, first: Any, where: str) -> None:
    """Labels that are values must be as many as in the first record, each 1, 0, -1, null or a probability."""
    if isinstance(first, list) and len(label) != len(first):
        raise InputError(f"{where} has {len(label)} labels, the first one {len(first)}.")
    for value in label:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if value is not None and not (number and (value == -1 or 0 <= value <= 1)):
            raise InputError(f"{where} has the label {value!r}; it must be 1, 0, -1, null or a probability.")


def read_table(
    path: str | os.PathLike[str], columns: Iterable[str], *, short_rows: bool = False
) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number (the header is line 1) and cells of every row of a CSV file: strings without surrounding blanks.

    With ``short_rows`` a row may lack its last cells, which are blank then.

    Raises:
        InputError: when the file is missing or not UTF-8, lacks one of the columns or has it twice, or a row has not
            one cell a column.
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


def csv_file(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """The content of a CSV file, as ``read_table`` reads it; None is blank."""
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([columns, *rows])
    return stream.getvalue().encode()


def relative_path(path: str, where: str) -> str:
    """A path of a table or datalist, without ``.`` and doubled slashes; ``where`` is file and line, for the errors.

    Raises:
        InputError: when it is blank, absolute, no possible name, or climbs out of the data set with ``..``.
    """
    windows = PureWindowsPath(path)
    if windows.drive or windows.root or ".." in windows.parts:
        raise InputError(f"{where}: the path '{path}' leads out of the data set; it must be relative, without '..'.")
    if "\0" in path or not is_utf8(path):
        raise InputError(f"{where}: the path {path!r} has a character that no file's name in UTF-8 has; rename it.")
    if not windows.parts:
        raise InputError(f"{where}: the path is blank.")
    return str(PurePosixPath(path))
