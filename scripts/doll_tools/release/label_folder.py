"""Reading a folder of labels and refusing one that is not finished, not whole, or holds anything else."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from doll_monai.data.datalist import SECTIONS, read_table, relative_path
from doll_monai.data.label_store import COLUMNS
from doll_monai.findings import CHANNEL_DEF, FINDINGS
from doll_monai.utils.errors import InputError
from doll_monai.utils.json_object import read_json_object
from doll_tools.release.paths import without_paths

PARTS = ("dataset.json", "labels.csv", "provenance.json")
"""Files that a finished folder has, beside ``labels/``."""

_ALLOWED = {*PARTS, "labels", "rows", "maps", "failures.csv", "mlruns", "mlruns.db"}
_RESTORE = "restore it or make the labels again"
_AGAIN = "run the label generation with the same output_dir again until it is finished"


@dataclass
class LabelFolder:
    """What a finished folder says about its labels; the label files themselves are not opened.

    Attributes:
        root: the folder.
        sections: section to records, each with the relative paths ``image`` and ``label`` alone.
        rows: rows of ``labels.csv``, every cell a string.
        provenance: ``provenance.json`` without absolute paths.
        failures: rows of ``failures.csv`` without absolute paths; None where there is no such file.
        image_size: (W, H) of every label.
    """

    root: Path
    sections: dict[str, list[dict[str, str]]]
    rows: list[dict[str, str]]
    provenance: dict[str, Any]
    failures: list[dict[str, str]] | None
    image_size: tuple[int, int]

    @property
    def records(self) -> list[dict[str, str]]:
        """Records of all sections."""
        return [record for records in self.sections.values() for record in records]


def read_label_folder(folder: str | os.PathLike[str]) -> LabelFolder:
    """Read datalist, table and provenance of a finished folder of labels, and compare them and the names of the files.

    Raises:
        InputError: when the folder is another one, not finished or mixed, or holds something that is no label.
    """
    root = Path(folder)
    if not root.is_dir():
        raise InputError(f"The folder {root} does not exist; give the output_dir of the label generation.")
    missing = [name for name in (*PARTS, "labels") if not (root / name).exists()]
    if len(missing) == len(PARTS) + 1:
        raise InputError(f"{root} is no folder of labels; give the output_dir of the label generation.")
    if missing:
        raise InputError(f"The labels in {root} are not finished, {', '.join(missing)} is missing; {_AGAIN}.")
    _refuse_strangers(root, sorted({path.name for path in root.iterdir()} - _ALLOWED))
    provenance = _read_provenance(root / "provenance.json")
    sections = _read_sections(root / "dataset.json")
    records = [record for part in sections.values() for record in part]
    _compare_files(root, {record["label"] for record in records})
    rows = _read_rows(root / "labels.csv", {record["image"] for record in records})
    failures = _read_failures(root / "failures.csv")
    return LabelFolder(root, sections, rows, without_paths(provenance), failures, tuple(provenance["image_size"]))


def _refuse_strangers(root: Path, names: Sequence[str]) -> None:
    if names:
        raise InputError(
            f"{root} holds {len(names)} files or folders that are no labels, the first is {names[0]}; "
            "move them elsewhere, images must never be passed on with labels."
        )


def _read_provenance(path: Path) -> dict[str, Any]:
    provenance = read_json_object(path, _RESTORE)
    size = provenance.get("image_size")
    if not isinstance(provenance.get("checkpoint_sha256"), str) or not _is_size(size):
        raise InputError(f"{path} does not say checkpoint_sha256 and image_size; make the labels again.")
    return provenance


def _is_size(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(length, int) for length in value)


def _read_sections(path: Path) -> dict[str, list[dict[str, str]]]:
    content = read_json_object(path, _RESTORE)
    if content.get("labels") != CHANNEL_DEF:
        raise InputError(f"{path} names other channels than the 14 observations; make the labels again.")
    sections: dict[str, list[dict[str, str]]] = {}
    for name in SECTIONS:
        for number, record in enumerate(content.get(name) or (), start=1):
            where = f"{path}, record {number} of '{name}'"
            if not isinstance(record, dict) or not all(isinstance(record.get(key), str) for key in ("image", "label")):
                raise InputError(f"{where}: image and label must be paths; make the labels again.")
            label = relative_path(record["label"], where)
            if not (label.startswith("labels/") and label.endswith(".nii.gz")):
                raise InputError(f"{where}: the label '{label}' is no labels/*.nii.gz; make the labels again.")
            sections.setdefault(name, []).append({"image": relative_path(record["image"], where), "label": label})
    if not sections:
        raise InputError(f"{path} names no label at all; {_AGAIN}.")
    for key in ("image", "label"):
        counts = Counter(record[key] for records in sections.values() for record in records)
        (first, count) = counts.most_common(1)[0]
        if count > 1:
            raise InputError(f"{path} has the {key} {first} {count} times; make the labels again.")
    return sections


def _compare_files(root: Path, named: set[str]) -> None:
    """Exactly the label files that the datalist names, and no link to anywhere."""
    found = {path.relative_to(root).as_posix(): path for path in (root / "labels").rglob("*")}
    links = sorted(name for name, path in found.items() if path.is_symlink())
    if links or (root / "labels").is_symlink():
        raise InputError(f"{root / (links or ['labels'])[0]} is a link; put the label file itself there.")
    files = {name for name, path in found.items() if not path.is_dir()}
    _refuse_strangers(root, sorted(files - named))
    missing = sorted(named - files)
    if missing:
        raise InputError(
            f"{len(missing)} of {len(named)} labels in {root} are missing, the first is {missing[0]}; "
            f"delete its folder 'rows' and {_AGAIN}."
        )


def _read_rows(path: Path, images: Iterable[str]) -> list[dict[str, str]]:
    known, seen, rows = set(images), set(), []
    for line, row in read_table(path, [column for column in COLUMNS if column != "agreement"]):
        row.setdefault("agreement", "")  # earlier tables lack it
        where = f"{path}, line {line}"
        strange = sorted(set(row) - set(COLUMNS))
        if strange:
            raise InputError(f"{path} has the column {strange[0]}, which may say more than it should; remove it.")
        if row["image"] not in known:
            raise InputError(f"{where}: dataset.json does not name {row['image']}; do not mix folders of labels.")
        if row["observation"] not in FINDINGS:
            raise InputError(f"{where}: '{row['observation']}' is none of the 14 observations; make the labels again.")
        if (row["image"], row["observation"]) in seen:
            raise InputError(f"{where}: {row['observation']} of {row['image']} stands there twice; make it again.")
        if any(without_paths(cell) != cell for cell in row.values()):
            raise InputError(f"{where} holds an absolute path; remove it.")
        for column in COLUMNS[2:]:
            if not _is_number(row[column]) and (row[column] or column == "foreground_share"):
                raise InputError(f"{where}: the {column} '{row[column]}' is no number; make the labels again.")
        seen.add((row["image"], row["observation"]))
        rows.append(row)
    return rows


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _read_failures(path: Path) -> list[dict[str, str]] | None:
    if not path.exists():
        return None
    rows = [without_paths(row) for _, row in read_table(path, ("image",))]
    for row in rows:
        relative_path(row["image"], str(path))
    return rows
