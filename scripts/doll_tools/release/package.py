"""Putting the data set together: checked, hashed, and there only when it is whole."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from doll_monai.data.datalist import write_datalist
from doll_monai.data.label_store import COLUMNS
from doll_monai.findings import CHANNEL_DEF
from doll_monai.utils.errors import InputError
from doll_tools.release.card import read_evaluation, render_card
from doll_tools.release.label_check import check_label
from doll_tools.release.label_folder import LabelFolder, read_label_folder
from doll_tools.release.paths import without_paths

TITLE = "Localization labels of chest radiographs"

Progress = Callable[[list[dict[str, str]]], Iterable[dict[str, str]]]


def package_labels(
    labels: str | os.PathLike[str],
    output: str | os.PathLike[str],
    evaluation: str | os.PathLike[str] | None = None,
    name: str = TITLE,
    images: str | None = None,
    progress: Progress = iter,
) -> LabelFolder:
    """Write a data set from a finished folder of labels; the same input gives the same bytes.

    Args:
        labels: the ``output_dir`` of the label generation.
        output: folder to make; it must not exist or be empty.
        evaluation: ``evaluation.csv`` or the folder that holds it, for the card's table of quality.
        name: the card's title.
        images: which images the labels belong to, in a few words, for the card.
        progress: shows how many of the records are done.

    Returns:
        What was packaged.

    Raises:
        InputError: when the folder is not finished, not whole, or holds anything but labels; when the output is there
            already, lies in the folder of labels, or cannot be written.
    """
    source, target = Path(labels), Path(output).absolute()
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise InputError(f"{target} is there already; give another output, or delete it.")
    if source.resolve() in (target.resolve(), *target.resolve().parents):
        raise InputError(f"{target} lies in the folder of labels; give an output elsewhere.")
    folder = read_label_folder(source)
    table = None if evaluation is None else read_evaluation(evaluation)
    card = render_card(folder, _one_line(name), _one_line(images) if images else None, table)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        temporary.mkdir(parents=True)
        _copy_labels(folder, temporary, progress)
        _write_texts(folder, temporary, card)
        _write_sums(temporary)
        os.replace(temporary, target)
    except OSError as error:
        raise InputError(f"{target} cannot be written: {error.strerror}.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _copy_labels(folder: LabelFolder, target: Path, progress: Progress) -> None:
    """Check each label file and write the very bytes that were checked."""
    shares: dict[str, dict[str, float]] = {}
    for row in folder.rows:
        shares.setdefault(row["image"], {})[row["observation"]] = float(row["foreground_share"])
    for record in progress(folder.records):
        content = (folder.root / record["label"]).read_bytes()
        name = str(folder.root / record["label"])
        check_label(content, name, folder.image_size, shares.get(record["image"], {}))
        path = target / record["label"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _write_texts(folder: LabelFolder, target: Path, card: str) -> None:
    write_datalist(target / "dataset.json", folder.sections, labels=CHANNEL_DEF)
    _write_table(target / "labels.csv", folder.rows, COLUMNS)
    if folder.failures:
        _write_table(target / "failures.csv", folder.failures, list(folder.failures[0]))
    provenance = json.dumps(folder.provenance, indent=2, sort_keys=True) + "\n"
    (target / "provenance.json").write_text(provenance, encoding="utf-8")
    (target / "README.md").write_text(card, encoding="utf-8")


def _write_table(path: Path, rows: Sequence[dict[str, str]], columns: Sequence[str]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.write_text(text.getvalue(), encoding="utf-8")


def _write_sums(target: Path) -> None:
    """``SHA256SUMS`` of all other files, as ``sha256sum -c`` reads it."""
    names = sorted(path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file())
    lines = [f"{hashlib.sha256((target / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (target / "SHA256SUMS").write_text("".join(lines), encoding="utf-8")


def _one_line(text: Any) -> str:
    return " ".join(str(without_paths(str(text))).split())
