"""Reading a folder of labels and refusing one that is not finished, not whole, or holds anything else."""

from __future__ import annotations

import gzip
import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

import nibabel as nib
import numpy as np

from doll_monai.data.datalist import SECTIONS, read_section, read_table
from doll_monai.data.label_store import COLUMNS
from doll_monai.findings import BACKGROUND, CHANNEL_DEF, FINDINGS, FOREGROUND, IGNORE
from doll_monai.utils.errors import InputError
from doll_monai.utils.json_object import read_json_object

PARTS = ("dataset.json", "labels.csv", "provenance.json", "labels")
"""What a finished folder has."""
_ALLOWED = {*PARTS, "rows", "maps", "failures.csv", "mlruns", "mlruns.db"}
_AGAIN = "run the label generation with the same output_dir again"
_WORD = re.compile(r"""[^\s'",;=()\[\]{}<>|]{2,}""")
_NUMBER = re.compile(r"([-+]?[\d.]+(e[-+]?\d+)?)?", re.IGNORECASE)
"""A finite number, or nothing."""
_TEXTS = ("descrip", "aux_file", "db_name", "intent_name")


@dataclass
class LabelFolder:
    """What a finished folder says about its labels; the label files themselves are not opened.

    Attributes:
        root: the folder.
        sections: section to records, each with the relative paths ``image`` and ``label`` alone.
        rows: rows of ``labels.csv``, every cell a string.
        provenance: ``provenance.json`` without absolute paths.
        failures: rows of ``failures.csv`` without absolute paths.
        image_size: (W, H) of every label.
    """

    root: Path
    sections: dict[str, list[dict[str, str]]]
    rows: list[dict[str, str]]
    provenance: dict[str, Any]
    failures: list[dict[str, str]]
    image_size: tuple[int, int]

    @property
    def records(self) -> list[dict[str, str]]:
        """Records of all sections."""
        return [record for records in self.sections.values() for record in records]


def read_label_folder(root: Path) -> LabelFolder:
    """Read datalist, table and provenance of a finished folder of labels, and compare them and the names of the files.

    Raises:
        InputError: when the folder is another one, not finished or mixed, or holds something that is no label.
    """
    missing = [name for name in PARTS if not (root / name).exists()]
    if len(missing) == len(PARTS):
        raise InputError(f"{root} is no folder of labels; give the output_dir of the label generation.")
    if missing:
        raise InputError(f"The labels in {root} are not finished, {', '.join(missing)} is missing; {_AGAIN}.")
    _refuse_strangers(root, {path.name for path in root.iterdir()} - _ALLOWED)
    provenance = read_json_object(root / "provenance.json", _AGAIN)
    if "checkpoint_sha256" not in provenance or len(provenance.get("image_size") or ()) != 2:
        raise InputError(f"{root / 'provenance.json'} does not say checkpoint_sha256 and image_size; {_AGAIN}.")
    sections = _read_sections(root / "dataset.json")
    records = [record for part in sections.values() for record in part]
    _compare_files(root, {record["label"] for record in records})
    rows = _read_rows(root / "labels.csv", {record["image"] for record in records})
    failed = root / "failures.csv"
    failures = [without_paths(row) for _, row in read_table(failed, ("image",))] if failed.exists() else []
    return LabelFolder(root, sections, rows, without_paths(provenance), failures, tuple(provenance["image_size"]))


def check_label(content: bytes, name: str, image_size: tuple[int, int], shares: Mapping[str, float]) -> None:
    """Check the content of a label file of (W, H) and the foreground shares that the table tells, to four digits.

    Raises:
        InputError: when it cannot be read, is no ``uint8`` (W, H, 1, 14) of 0, 1 and 255, carries text or an
            appendix, or has another foreground than the table says.
    """
    try:
        plain = gzip.decompress(content)
        image = nib.Nifti1Image.from_bytes(plain)
        label = np.asarray(image.dataobj)
    except Exception as error:  # gzip, zlib and nibabel have their own
        raise InputError(f"The label {name} cannot be read; {_AGAIN}.") from error
    shape = (*image_size, 1, len(FINDINGS))
    if label.dtype != np.uint8 or label.shape != shape:
        raise InputError(f"The label {name} is {label.dtype} {label.shape} instead of uint8 {shape}; {_AGAIN}.")
    if not np.isin(label, (BACKGROUND, FOREGROUND, IGNORE)).all():
        raise InputError(f"The label {name} holds other values than 0, 1 and 255, it is an image; {_AGAIN}.")
    texts = [image.header[field].item().strip(b"\0 ") for field in _TEXTS]
    if any(texts) or image.header.extensions or len(plain) != nib.Nifti1Header.single_vox_offset + label.nbytes:
        raise InputError(f"The label {name} carries more than a label in its file; {_AGAIN}.")
    for share, observation in zip((label == FOREGROUND).mean(axis=(0, 1, 2)), FINDINGS, strict=True):
        told = shares.get(observation, 0.0)
        if abs(share - told) > 1e-4:
            raise InputError(
                f"The label {name} has {share:.4f} of its pixels in {observation}, labels.csv says {told:.4f}; "
                "do not mix folders of labels."
            )


def without_paths(value: Any) -> Any:
    """A JSON value whose texts name absolute paths by their last part alone: ``/data/x/model.pt`` as ``model.pt``.

    Relative paths and addresses on the web stay as they are.
    """
    if isinstance(value, dict):
        return {without_paths(name): without_paths(content) for name, content in value.items()}
    if isinstance(value, list):
        return [without_paths(content) for content in value]
    if not isinstance(value, str):
        return value
    return _last_part(value) if _is_absolute(value) else _WORD.sub(lambda word: _last_part(word[0]), value)


def _is_absolute(path: str) -> bool:
    """Whether a path is one of this or another system, or of a home."""
    return bool(PureWindowsPath(path).anchor) or path.startswith("~")


def _last_part(word: str) -> str:
    scheme, found, path = word.rpartition("://")
    if scheme in ("http", "https") or not (found or _is_absolute(word)):
        return word
    return PureWindowsPath(path.lstrip("\\/")).name


def _refuse_strangers(root: Path, names: set[str]) -> None:
    if names:
        raise InputError(
            f"{root} holds {len(names)} files or folders that are no labels, the first is {min(names)}; "
            "move them elsewhere, images must never be passed on with labels."
        )


def _read_sections(path: Path) -> dict[str, list[dict[str, str]]]:
    content = read_json_object(path, _AGAIN)
    if content.get("labels") != CHANNEL_DEF:
        raise InputError(f"{path} names other channels than the 14 observations; {_AGAIN}.")
    sections = {name: read_section(path, name) for name in SECTIONS if content.get(name)}
    records = [record for part in sections.values() for record in part]
    for key in ("image", "label"):
        for first, count in Counter(str(record.get(key)) for record in records).most_common(1):
            if count > 1:
                raise InputError(f"{path} has the {key} {first} {count} times; {_AGAIN}.")
    others = [label for record in records if not (label := str(record.get("label"))).endswith(".nii.gz")]
    if others:
        raise InputError(f"{path}: the label '{others[0]}' is no labels/*.nii.gz; {_AGAIN}.")
    return {
        name: [{key: str(record[key]) for key in ("image", "label")} for record in part]
        for name, part in sections.items()
    }


def _compare_files(root: Path, named: set[str]) -> None:
    """Exactly the label files that the datalist names, and no link to anywhere."""
    found = {path.relative_to(root).as_posix(): path for path in [root / "labels", *(root / "labels").rglob("*")]}
    links = sorted(name for name, path in found.items() if path.is_symlink())
    if links:
        raise InputError(f"{root / links[0]} is a link; put the label file itself there.")
    files = {name for name, path in found.items() if not path.is_dir()}
    _refuse_strangers(root, files - named)
    missing = sorted(named - files)
    if missing:
        raise InputError(
            f"{len(missing)} of {len(named)} labels in {root} are missing, the first is {missing[0]}; "
            f"delete its folder 'rows' and {_AGAIN}."
        )


def _read_rows(path: Path, images: Collection[str]) -> list[dict[str, str]]:
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for line, row in read_table(path, COLUMNS):
        extra = sorted(set(row) - set(COLUMNS))
        if extra:
            raise InputError(f"{path} has the column {extra[0]}, which may say more than it should; remove it.")
        for column in COLUMNS[2:]:
            if not _NUMBER.fullmatch(row[column]) or (column == "foreground_share" and not row[column]):
                raise InputError(f"{path}, line {line}: the {column} '{row[column]}' is no number; {_AGAIN}.")
        pair = row["image"], row["observation"]
        if pair[0] not in images or pair[1] not in FINDINGS or pair in rows:
            raise InputError(
                f"{path}, line {line}: {pair[1]} of {pair[0]} is unknown or stands there twice; "
                "do not mix folders of labels."
            )
        rows[pair] = row
    return list(rows.values())
