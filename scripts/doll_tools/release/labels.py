"""A data set that others can use, of a finished folder of labels; images are never copied."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections import defaultdict
from pathlib import Path

import pandas as pd

from doll_monai.data.datalist import read_table, write_datalist
from doll_monai.data.label_store import COLUMNS
from doll_monai.findings import BACKGROUND, CHANNEL_DEF, FINDINGS, FOREGROUND, IGNORE
from doll_monai.utils.errors import InputError
from doll_monai.utils.progress import Bar
from doll_tools.markdown import number, render
from doll_tools.release.label_folder import LabelFolder, check_label, read_label_folder, without_paths

TEMPLATE = Path(__file__).with_name("card.md.j2")
TITLE = "Localization labels of chest radiographs"
MAX_ROWS = 60
"""A longer table of quality is one of images, not of means."""
Table = list[list[str]]


def package_labels(
    labels: str,
    output: str,
    evaluation: str | None = None,
    images: str | None = None,
    name: str = TITLE,
    quiet: bool = False,
) -> None:
    """Check all labels and write them with datalist, table, provenance, hashes and a data card; always the same bytes.

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
    table = None if evaluation is None else _read_evaluation(Path(str(evaluation)))
    card = _card(folder, _one_line(name), _one_line(images) if images else None, table)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        temporary.mkdir(parents=True)
        _copy_labels(folder, temporary, quiet)
        write_datalist(temporary / "dataset.json", folder.sections, labels=CHANNEL_DEF)
        pd.DataFrame(folder.rows, columns=list(COLUMNS)).to_csv(temporary / "labels.csv", index=False)
        if folder.failures:
            pd.DataFrame(folder.failures).to_csv(temporary / "failures.csv", index=False)
        provenance = json.dumps(folder.provenance, indent=2, sort_keys=True) + "\n"
        (temporary / "provenance.json").write_text(provenance, encoding="utf-8")
        (temporary / "README.md").write_text(card, encoding="utf-8")
        names = sorted(path.relative_to(temporary).as_posix() for path in temporary.rglob("*") if path.is_file())
        sums = [f"{hashlib.sha256((temporary / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
        (temporary / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")
        os.replace(temporary, target)
    except OSError as error:
        raise InputError(f"{target} cannot be written: {error.strerror}.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    print(f"{len(folder.records)} labels, checked; no image is included, only the images' relative paths.")
    print(f"{output}/README.md")


def _copy_labels(folder: LabelFolder, target: Path, quiet: bool) -> None:
    """Check each label file and write the very bytes that were checked."""
    shares: dict[str, dict[str, float]] = defaultdict(dict)
    for row in folder.rows:
        shares[row["image"]][row["observation"]] = float(row["foreground_share"])
    for record in Bar(folder.records, name="labels", quiet=quiet):
        source, path = folder.root / record["label"], target / record["label"]
        content = source.read_bytes()
        check_label(content, str(source), folder.image_size, shares[record["image"]])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _one_line(text: str) -> str:
    return " ".join(str(without_paths(str(text))).split())


def _card(folder: LabelFolder, name: str, images: str | None, evaluation: Table | None) -> str:
    """The data card in Markdown, with header and rows of a table of quality."""
    settings = {key: value for key, value in folder.provenance.items() if key not in ("checkpoint_sha256", "versions")}
    return render(
        TEMPLATE,
        name=name,
        images=images,
        folder=folder,
        findings=FINDINGS,
        values={"background": BACKGROUND, "foreground": FOREGROUND, "ignored": IGNORE},
        settings={key: json.dumps(value, sort_keys=True) for key, value in sorted(settings.items())},
        observations=[_observation_row(folder, name) for name in FINDINGS],
        evaluation=evaluation,
    )


def _observation_row(folder: LabelFolder, finding: str) -> list[str]:
    """Its positive images, those with foreground, mean share of that, mean probability, median completeness error."""
    table = pd.DataFrame(folder.rows, columns=list(COLUMNS))
    numbers = table[table["observation"] == finding][list(COLUMNS[2:])].replace("", "nan").astype(float)
    shares = numbers["foreground_share"][numbers["foreground_share"] > 0]
    means = (shares.mean(), numbers["probability"].mean(), numbers["completeness_error"].median())
    return [finding, str(len(numbers)), str(len(shares)), *(number(mean) or "-" for mean in means)]


def _read_evaluation(path: Path) -> Table:
    """Header and rows of ``evaluation.csv`` or of the one in a folder, numbers to four digits."""
    path = path / "evaluation.csv" if path.is_dir() else path
    rows = [row for _, row in read_table(path, ())]
    if not 1 <= len(rows) <= MAX_ROWS:
        raise InputError(f"{path} has {len(rows)} rows; give a table of means with 1 to {MAX_ROWS}.")
    return [[_cell(value) for value in line] for line in (rows[0], *(row.values() for row in rows))]


def _cell(value: str) -> str:
    text = str(without_paths(value)).replace("|", "/")
    return f"{float(text):.4g}" if re.fullmatch(r"-?\d*\.\d+(e-?\d+)?", text) else text
