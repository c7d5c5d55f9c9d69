"""One's own tables: ``doll prepare masks``, images with columns of masks; and tables of findings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from doll_monai.data.datalist import SECTIONS, read_table, relative_path
from doll_monai.findings import FINDINGS, finding_index
from doll_monai.utils.errors import InputError
from doll_tools.prepare.masks import PATIENT_COLUMN, parse_classes
from doll_tools.prepare.preparation import Count, Prepared, Radiograph, command, raw_label
from doll_tools.prepare.sections import in_several_pools

SECTION_COLUMN = "section"


@command
def prepare_masks(
    csv: str, classes: str, image: str = "image", patient: str | None = None, dataset_dir: str | None = None
) -> Prepared:
    """Images with hand-drawn masks that a table names: join mask columns to classes, one label file an image.

    Example: doll prepare masks --csv index.csv --classes "lungs=right_lung+left_lung" --output output/lungs
    --training 10 --validation 10

    Args:
        csv: table with a column of images and columns of masks; a blank cell is an empty mask.
        classes: name=column+column,name=column: the classes and the columns whose union each is.
        image: name of the column of images.
        patient: name of the column of patients; by default "patient" where there is one, else every image stands alone.
        dataset_dir: folder to which images and masks are relative; the folder of the table by default.
    """
    groups = parse_classes(classes)
    columns = dict.fromkeys(column for group in groups.values() for column in group)
    images = []
    for where, path, person, row in _rows(csv, columns, image, patient):
        files = {column: relative_path(row[column], where) for column in columns if row[column]}
        masks = {name: [files[column] for column in group if column in files] for name, group in groups.items()}
        images.append(Radiograph(path, person, masks=masks, where=where))
    folder = Path(csv).parent if dataset_dir is None else Path(dataset_dir)
    return Prepared(Path(csv).resolve().parent.name, folder, images, _counts(images), list(groups))


def find_findings(dataset_dir: str, csv: str, image: str, patient: str | None) -> Prepared:
    """Images of a table of findings; see ``prepare_folder``."""
    images: list[Radiograph] = []
    channels: dict[str, int] = {}
    others: list[str] = []
    for where, path, person, row in _rows(csv, (), image, patient):
        channels = channels or _observations(row, csv)
        used = (*channels, image, patient, PATIENT_COLUMN, SECTION_COLUMN)
        others = [name for name in row if name not in used and name.lower() not in used]
        values: list[float | None] = [None] * len(FINDINGS)
        for column, channel in channels.items():
            values[channel] = raw_label(row[column], f"{where}: {column}")
        pool = _cell(row, SECTION_COLUMN) or None
        if pool not in (None, *SECTIONS):
            raise InputError(f"{where}: section is '{pool}'; it must be {', '.join(SECTIONS)} or blank everywhere.")
        images.append(Radiograph(path, person, pool, values, where=where))
    pools = [radiograph.pool for radiograph in images]
    if any(pools) and not all(pools):
        raise InputError(f"{csv}: section is blank in {pools.count(None)} of {len(pools)} rows; fill in all or none.")
    if shared := in_several_pools([radiograph.patient for radiograph in images], pools):
        raise InputError(
            f"{csv}: {len(shared)} patients are in several sections, such as {shared[0]}; keep each in one."
        )
    notes = [f"Columns passed over: {', '.join(others) or 'none'}."]
    return Prepared(Path(dataset_dir).resolve().name, Path(dataset_dir), images, _counts(images), notes=notes)


def _rows(
    csv: str, columns: Iterable[str], image: str, patient: str | None
) -> Iterator[tuple[str, str, str, dict[str, str]]]:
    """Line, image, patient and cells of every row of a table."""
    rows = list(read_table(csv, [image, *columns, *([] if patient is None else [patient])]))
    if not rows:
        raise InputError(f"{csv} has no rows.")
    for line, row in rows:
        where = f"{csv}, line {line}"
        path = relative_path(row[image], where)
        person = _cell(row, PATIENT_COLUMN) if patient is None else row[patient]
        if person == "":
            raise InputError(f"{where}: {patient or PATIENT_COLUMN} is blank; fill it in.")
        yield where, path, path if person is None else person, row


def _cell(row: dict[str, str], column: str) -> str | None:
    """The cell of a column whose name is written in any case, None without one."""
    return next((cell for name, cell in row.items() if name.lower() == column), None)


def _observations(columns: Iterable[str], csv: str) -> dict[str, int]:
    """Columns that are named as one of the 14 observations, and its channel."""
    found: dict[int, str] = {}
    for column in columns:
        try:
            first = found.setdefault(finding_index(column), column)
        except KeyError:
            continue
        if first != column:
            raise InputError(f"{csv}: the columns '{first}' and '{column}' are the same observation; keep one.")
    if not found:
        raise InputError(f"{csv} has no column of an observation; it may have {', '.join(FINDINGS)}.")
    return {column: channel for channel, column in found.items()}


def _counts(images: list[Radiograph]) -> list[Count]:
    return [Count("images", len(images)), Count("patients", len({image.patient for image in images}))]
