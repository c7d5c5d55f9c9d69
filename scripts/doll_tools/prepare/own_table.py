"""One's own images with a CSV of findings as a data set to classify."""

from __future__ import annotations

import os
from pathlib import Path

from doll_monai.data.datalist import SECTIONS, read_table, relative_path
from doll_monai.findings import FINDINGS, finding_index
from doll_monai.utils.errors import InputError
from doll_tools.prepare.chexpert import raw_label
from doll_tools.prepare.preparation import Prepared, Radiograph
from doll_tools.prepare.published import Count
from doll_tools.prepare.sections import choose_sections

PATIENT, SECTION = "patient", "section"


def prepare_table(
    dataset_dir: str | os.PathLike[str],
    csv: str | os.PathLike[str],
    *,
    image: str = "image",
    patient: str | None = None,
    training: int | None = None,
    validation: int | None = None,
    test: int | None = None,
    seed: int = 0,
) -> Prepared:
    """Look through a table with a row a radiograph.

    A column that is named as one of the 14 observations, in any case and with any of blank, ``_`` and ``-`` between
    words, holds its raw labels: 1, 0, -1 or blank. An observation without a column is blank everywhere. A column
    ``section`` may say training, validation or test; other columns are passed over.

    Args:
        dataset_dir: folder to which the images are relative.
        csv: the table.
        image: name of the column of images.
        patient: name of the column of patients; None uses ``patient`` where there is one, else every radiograph stands alone.
        training: see ``choose_sections``, as for the next ones.
        validation: number of images for validation.
        test: number of images for test at the most.
        seed: another seed, another split.

    Raises:
        InputError: when a column is missing, no column is an observation, two are the same one, or a row is wrong.
    """
    rows = list(read_table(csv, [image, *([patient] if patient is not None else [])]))
    if not rows:
        raise InputError(f"{csv} has no rows.")
    columns, ignored = _observations(list(rows[0][1]), csv)
    by_name = {name.lower(): name for name in rows[0][1]}
    person = by_name.get(PATIENT) if patient is None else patient
    section_column = by_name.get(SECTION, SECTION)
    lines: dict[str, int] = {}
    values: list[list[float | None]] = []
    patients, pools = [], []
    for line, row in rows:
        where = f"{csv}, line {line}"
        radiograph = relative_path(row[image], where)
        if radiograph in lines:
            raise InputError(f"{where}: {radiograph} occurs twice, first in line {lines[radiograph]}.")
        lines[radiograph] = line
        label: list[float | None] = [None] * len(FINDINGS)
        for channel, column in columns.items():
            label[channel] = raw_label(row[column], f"{where}: {column}")
        values.append(label)
        patients.append(radiograph if person is None else row[person])
        if not patients[-1]:
            raise InputError(f"{where}: {person} is blank; fill it in.")
        pools.append(_pool(row.get(section_column, ""), where))
    if any(pools) and not all(pools):
        raise InputError(f"{csv}: {SECTION} is blank in {pools.count(None)} of {len(pools)} rows; fill in all or none.")
    shared = [name for name, found in _sections_of(patients, pools).items() if len(found) > 1]
    if shared:
        raise InputError(
            f"{csv}: {len(shared)} patients are in several sections, such as {min(shared)}; keep each in one."
        )
    split = choose_sections(pools, patients, training=training, validation=validation, test=test, seed=seed)
    ignored = [name for name in ignored if name not in (image, person, section_column)]
    return Prepared(
        Path(dataset_dir).resolve().name,
        Path(dataset_dir),
        [
            Radiograph(radiograph, section, values=label)
            for radiograph, section, label in zip(lines, split, values, strict=True)
            if section is not None
        ],
        counts=[Count("images", len(lines)), Count("patients", len(set(patients)))],
        notes=[f"Columns passed over: {', '.join(ignored)}."] if ignored else [],
    )


def _sections_of(patients: list[str], pools: list[str | None]) -> dict[str, set[str | None]]:
    found: dict[str, set[str | None]] = {}
    for patient, pool in zip(patients, pools, strict=True):
        found.setdefault(patient, set()).add(pool)
    return found


def _observations(columns: list[str], csv: str | os.PathLike[str]) -> tuple[dict[int, str], list[str]]:
    """Channel to the column that holds it, and the columns that hold none."""
    found: dict[int, str] = {}
    others = []
    for column in columns:
        try:
            channel = finding_index(column)
        except KeyError:
            others.append(column)
            continue
        if channel in found:
            raise InputError(
                f"{csv}: the columns '{found[channel]}' and '{column}' are the same observation; keep one."
            )
        found[channel] = column
    if not found:
        raise InputError(f"{csv} has no column of an observation; it may have {', '.join(FINDINGS)}.")
    return found, others


def _pool(cell: str, where: str) -> str | None:
    if cell and cell not in SECTIONS:
        raise InputError(f"{where}: {SECTION} is '{cell}'; it must be {', '.join(SECTIONS)} or blank everywhere.")
    return cell or None
