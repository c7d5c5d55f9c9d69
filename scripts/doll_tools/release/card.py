"""The data card: what the labels are, what they were made of, how good they are, and what they are not for."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean, median

import jinja2

from doll_monai.data.datalist import read_table
from doll_monai.findings import BACKGROUND, FINDINGS, FOREGROUND, IGNORE
from doll_monai.utils.errors import InputError
from doll_tools.release.label_folder import LabelFolder, without_paths

TEMPLATE = "card.md.j2"
MAX_ROWS = 60
"""A longer table of quality is one of images, not of means."""

Table = list[list[str]]


def render_card(folder: LabelFolder, name: str, images: str | None, evaluation: Table | None) -> str:
    """The card in Markdown.

    Args:
        folder: the labels.
        name: the title.
        images: which images the labels belong to, in a few words.
        evaluation: header and rows of the table of quality, see ``read_evaluation``.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("doll_tools.release", "."),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["row"] = lambda cells: "| " + " | ".join(str(cell) for cell in cells) + " |"
    settings = {key: value for key, value in folder.provenance.items() if key not in ("checkpoint_sha256", "versions")}
    return environment.get_template(TEMPLATE).render(
        name=name,
        images=images,
        sections={section: len(records) for section, records in folder.sections.items()},
        count=len(folder.records),
        positive=len({row["image"] for row in folder.rows}),
        failures=len(folder.failures),
        example=folder.records[0],
        section=next(iter(folder.sections)),
        size=folder.image_size,
        findings=FINDINGS,
        values={"background": BACKGROUND, "foreground": FOREGROUND, "ignored": IGNORE},
        checkpoint=folder.provenance["checkpoint_sha256"],
        versions=folder.provenance.get("versions", {}),
        settings={key: json.dumps(value, sort_keys=True) for key, value in sorted(settings.items())},
        observations=observation_table(folder.rows),
        evaluation=evaluation,
    )


def observation_table(rows: Sequence[dict[str, str]]) -> Table:
    """For each of the 14: positive images, those with foreground, mean share of it, probability, completeness error."""
    table = []
    for finding in FINDINGS:
        part = [row for row in rows if row["observation"] == finding]
        shares = [share for share in _numbers(part, "foreground_share") if share > 0]
        means = [fmean(shares or [0]), fmean(_numbers(part, "probability") or [0])]
        errors = _numbers(part, "completeness_error")
        figures = [*(f"{mean:.3f}" if part else "-" for mean in means), f"{median(errors):.3f}" if errors else "-"]
        table.append([finding, str(len(part)), str(len(shares)), *figures])
    return table


def read_evaluation(path: Path) -> Table:
    """Header and rows of a table of quality, numbers to four digits.

    Args:
        path: ``evaluation.csv``, or the folder that holds it.

    Raises:
        InputError: when there is none, it has no row, or more rows than a table of means has.
    """
    path = path / "evaluation.csv" if path.is_dir() else path
    rows = [row for _, row in read_table(path, ())]
    if not 1 <= len(rows) <= MAX_ROWS:
        raise InputError(f"{path} has {len(rows)} rows; give a table of means with 1 to {MAX_ROWS}.")
    return [_cells(rows[0].keys()), *(_cells(row.values()) for row in rows)]


def _cells(values: Iterable[str]) -> list[str]:
    return [_rounded(str(without_paths(value)).replace("|", "/")) for value in values]


def _rounded(text: str) -> str:
    try:
        return f"{float(text):.4g}" if "." in text else text
    except ValueError:
        return text


def _numbers(rows: Sequence[dict[str, str]], column: str) -> list[float]:
    return [float(row[column]) for row in rows if row[column]]
