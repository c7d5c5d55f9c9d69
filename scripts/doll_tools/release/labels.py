"""A data set that others can use, of a finished folder of labels; images are never copied.

Example:
    doll package labels --labels output/labels --output output/doll_dataset --images "CheXpert-v1.0-small" \
--evaluation output/evaluation
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from doll_monai.data.datalist import write_datalist
from doll_monai.data.label_store import COLUMNS
from doll_monai.findings import CHANNEL_DEF
from doll_monai.utils.errors import InputError
from doll_monai.utils.progress import Bar
from doll_tools.release.card import read_evaluation, render_card
from doll_tools.release.label_folder import LabelFolder, check_label, read_label_folder, without_paths

TITLE = "Localization labels of chest radiographs"


def package_labels(
    labels: str,
    output: str,
    evaluation: str | None = None,
    images: str | None = None,
    name: str = TITLE,
    quiet: bool = False,
) -> None:
    """Check all labels and write them with datalist, table, provenance, hashes and a data card.

    The same input gives the same bytes.

    Args:
        labels: the finished output_dir of the label generation.
        output: folder to make; it must not exist or be empty.
        evaluation: evaluation.csv or the folder that holds it, for the card; without it the card says "not evaluated".
        images: which images the labels belong to, in a few words, for the card.
        name: the card's title.
        quiet: show no progress.

    Raises:
        InputError: when the folder is not finished, not whole, or holds anything but labels; when the output is there
            already, lies in the folder of labels, or cannot be written.
    """
    source, target = Path(str(labels)), Path(str(output)).absolute()
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise InputError(f"{target} is there already; give another output, or delete it.")
    if source.resolve() in (target.resolve(), *target.resolve().parents):
        raise InputError(f"{target} lies in the folder of labels; give an output elsewhere.")
    folder = read_label_folder(source)
    table = None if evaluation is None else read_evaluation(Path(str(evaluation)))
    card = render_card(folder, _one_line(name), _one_line(images) if images else None, table)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        temporary.mkdir(parents=True)
        _copy_labels(folder, temporary, quiet)
        write_datalist(temporary / "dataset.json", folder.sections, labels=CHANNEL_DEF)
        _write_table(temporary / "labels.csv", folder.rows, COLUMNS)
        if folder.failures:
            _write_table(temporary / "failures.csv", folder.failures, list(folder.failures[0]))
        provenance = json.dumps(folder.provenance, indent=2, sort_keys=True) + "\n"
        (temporary / "provenance.json").write_text(provenance, encoding="utf-8")
        (temporary / "README.md").write_text(card, encoding="utf-8")
        _write_sums(temporary)
        os.replace(temporary, target)
    except OSError as error:
        raise InputError(f"{target} cannot be written: {error.strerror}.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    print(f"{len(folder.records)} labels, checked; no image is included, only the images' relative paths.")
    print(f"{output}/README.md")


def _copy_labels(folder: LabelFolder, target: Path, quiet: bool) -> None:
    """Check each label file and write the very bytes that were checked."""
    shares: dict[str, dict[str, float]] = {}
    for row in folder.rows:
        shares.setdefault(row["image"], {})[row["observation"]] = float(row["foreground_share"])
    for record in Bar(folder.records, name="labels", quiet=quiet):
        source, path = folder.root / record["label"], target / record["label"]
        content = source.read_bytes()
        check_label(content, str(source), folder.image_size, shares.get(record["image"], {}))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _write_table(path: Path, rows: Sequence[dict[str, str]], columns: Sequence[str]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _write_sums(target: Path) -> None:
    """``SHA256SUMS`` of all other files, as ``sha256sum -c`` reads it."""
    names = sorted(path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file())
    lines = [f"{hashlib.sha256((target / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (target / "SHA256SUMS").write_text("".join(lines), encoding="utf-8")


def _one_line(text: str) -> str:
    return " ".join(str(without_paths(str(text))).split())
