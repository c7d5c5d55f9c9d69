"""Comparisons of several tasks in one table, and what they say about the aims."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from doll_monai.utils.atomic import write_atomic
from doll_monai.utils.errors import InputError
from doll_tools.compare.aims import Aims, Names
from doll_tools.compare.aims_page import aims_page
from doll_tools.compare.measured import MeasuredTask, read_tasks
from doll_tools.compare.results import COLUMNS

FEW_SHOT, AIMS, PAGE = "few_shot.csv", "aims.csv", "few_shot.md"


def summarize_tasks(
    folders: Sequence[Path], output: Path, names: Names, shots: int, command: str, date: str, images: str
) -> Path:
    """Write ``few_shot.csv`` (all shots), ``aims.csv`` and ``few_shot.md``.

    Args:
        folders: of the comparisons, one a task.
        output: folder for the files.
        names: of the initializations.
        shots: number of annotated images of the aims.
        command, date, images: see ``aims_page``.

    Returns:
        the page.

    Raises:
        InputError: when a comparison cannot be read, or none has the shots or an initialization of another name.
    """
    tasks = read_tasks(folders)
    table = pd.concat([task.results for task in tasks], ignore_index=True)[COLUMNS]
    _check(tasks, names, shots)
    aims = Aims(tasks, names, shots)
    measured = aims.table()
    write_atomic(output / FEW_SHOT, table.to_csv(index=False).encode())
    write_atomic(output / AIMS, measured.round(5).to_csv(index=False).encode())
    write_atomic(output / PAGE, aims_page(aims, measured, command, date, images).encode())
    return output / PAGE


def _check(tasks: Sequence[MeasuredTask], names: Names, shots: int) -> None:
    """A number of shots or a name that nothing was measured with is a slip of the keyboard."""
    known = sorted({int(count) for task in tasks for count in task.results["shots"]})
    if shots not in known:
        raise InputError(f"No comparison has {shots} shots; there are: {', '.join(map(str, known))}.")
    inits = list(dict.fromkeys(init for task in tasks for init in task.results["init"]))
    for option, usual in vars(Names()).items():
        name = getattr(names, option)
        if name != usual and name not in inits:
            raise InputError(
                f"--{option}: no comparison has the initialization '{name}'; there are: {', '.join(inits)}."
            )
