"""The aims and the tasks' scores as a page of Markdown."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from doll_monai.handlers.image_scores import ELSEWHERE, SPLITS, TEST, VALID
from doll_monai.metrics.paired_differences import ALL
from doll_tools.compare.aims import ADAPTERS, HARD, LARGEST_SHARE, Aims
from doll_tools.compare.measured import MeasuredTask
from doll_tools.compare.page import NOTE, interval
from doll_tools.compare.summary import summarize
from doll_tools.evaluate.page import markdown_table

NOT_MEASURED = "not measured"
METHOD = (
    "Differences are of the IoU on test images: the mean over classes and images and seeds of a task, then over tasks, "
    "each of the same weight. Only seeds and images that both cells have count. The intervals are 95 % percentile "
    "bootstrap intervals: seeds and patients are drawn within each task, the tasks are fixed. For the iterations the "
    "curve on valid images is read, at its points; the median is over tasks and seeds, and a training that never gets "
    "there counts as infinitely long."
)
SCORES = {
    "IoU valid": (VALID, "iou"),
    "IoU test": (TEST, "iou"),
    "Dice test": (TEST, "dice"),
    "HD95 test": (TEST, "hd95"),
    "IoU elsewhere": (ELSEWHERE, "iou"),
}
YES = {True: "yes", False: "no", None: "no interval"}


def aims_page(aims: Aims, table: pd.DataFrame, command: str, date: str, images: str) -> str:
    """The page.

    Args:
        aims: the aims.
        table: their ``table()``.
        command: the command line that writes the page.
        date: of writing.
        images: what kind of images they are.
    """
    header = f"# {aims.shots} annotated images"
    beside = table["beside"].astype(bool)
    parts = [
        header,
        f"{images[:1].upper()}{images[1:]}, research use only. {date}, written by:\n\n    {command}",
        "## What was measured",
        "\n".join(_setting(task, aims.shots) for task in aims.tasks),
        _values(aims.tasks),
        "## Aims",
        METHOD,
        _tunings(aims),
        _aims(table[~beside]),
        "Beside them, the same numbers read in another way:",
        _aims(table[beside]),
        NOTE,
        *(_task(task, aims) for task in aims.tasks),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _setting(task: MeasuredTask, shots: int) -> str:
    """A task's images, seeds, iterations, size and given values."""
    settings = task.settings
    images = ", ".join(f"{count} {section}" for section, count in settings["images"].items())
    elsewhere = task.images.loc[task.images["split"] == ELSEWHERE, "image"].nunique()
    images += f", {elsewhere} from elsewhere" if elsewhere else ""
    seeds = task.results.loc[task.results["shots"] == shots, "seed"].nunique()
    size = settings.get("image_size")
    pixels = "the bundle's image size" if size is None else f"{' x '.join(map(str, size))} px"
    line = (
        f"- **{task.name}** ({', '.join(task.classes)}; bundle `{settings['bundle']}`): images: {images}; "
        f"{seeds} seeds, {settings['iterations']} iterations, batches of {settings['batch_size']}, {pixels}"
    )
    return line + (f"; `{json.dumps(settings['values'])}`" if settings["values"] else "") + "."


def _values(tasks: Sequence[MeasuredTask]) -> str:
    """The values that not all cells of a task share, a row each."""
    tasks_of: dict[tuple[str, str], list[str]] = {}
    for task in tasks:
        for name, values in task.values.items():
            text = ", ".join(f"`{key}` {value}" for key, value in values.items())
            tasks_of.setdefault((name, text), []).append(task.name)
    lines = [[name, text, ", ".join(names)] for (name, text), names in sorted(tasks_of.items())]
    return f"Values of their own:\n\n{markdown_table(['cells', 'values', 'tasks'], lines)}" if lines else ""


def _tunings(aims: Aims) -> str:
    """Which tunings were chosen, and from which."""
    doll = aims.names.doll
    if aims.best is None:
        return f"No tuning of `{doll}` is measured in every task."
    means = ", ".join(f"{tuning} {value:.3f}" for tuning, value in aims.valid.items())
    small = f"of {', '.join(ADAPTERS)} with at most {LARGEST_SHARE:.0%} of the parameters trained in every task"
    adapter = f"`{aims.adapter}` is the best {small}" if aims.adapter else f"there is none {small}"
    return (
        f"DoLL's tuning is one for all tasks, chosen by the mean IoU on valid images over the tasks: `{aims.best}` "
        f"({means}); {adapter}. `{aims.names.scratch}`, `{aims.names.classifier}` and `{aims.names.doll_backbone}` are "
        f"trained as a whole; `{doll}` too where a row says so. {' and '.join(HARD)} are scored without the other "
        "classes of their images."
    )


def _aims(rows: pd.DataFrame) -> str:
    header = ["", "what", "cells", "aim", "measured", "mean meets it", "lower end meets it", "tasks; seeds"]
    return markdown_table(header, [_aim(row) for row in rows.to_dict("records")])


def _aim(row: Mapping[Any, Any]) -> list[str]:
    cells = f"{row['first']} - {row['second']}" if row["first"] else row["second"]
    start = [str(row["row"]), row["what"], cells, row["target"]]
    if isinstance(row.get("missing"), str):
        return [*start, f"{NOT_MEASURED} ({row['missing']})", "", "", ""]
    of = f"{row['tasks']}; {row['seeds']:.0f}"
    if isinstance(row.get("reached"), str):
        value = f"{row['value']:.2f}" if math.isfinite(row["value"]) else "not reached"
        return [*start, f"{value} ({row['reached']} get there)", YES[row["mean_meets"]], "no interval", of]
    low = None if math.isnan(row["low"]) else row["low_meets"]
    measured = interval({f"iou{end}": row[name] for end, name in _ENDS.items()}, "iou", "+.3f")
    return [*start, measured, YES[row["mean_meets"]], YES[low], of]


_ENDS = {"": "value", "_low": "low", "_high": "high"}


def _task(task: MeasuredTask, aims: Aims) -> str:
    """A task's cells, their scores as means over classes."""
    title = f"## {task.name}"
    cells = task.cells(aims.shots)
    if not cells:
        return f"{title}\n\nNothing is measured with {aims.shots} images."
    parts: list[pd.DataFrame] = []
    for (init, tuning), split in itertools.product(cells, SPLITS):
        part = task.scores((init, tuning), aims.shots, split)
        part["class"] = ALL
        parts.append(part.assign(init=init, tuning=tuning, shots=aims.shots, split=split))
    rows = summarize(pd.concat(parts), aims.resamples).to_dict("records")
    summary = {(row["init"], row["tuning"], row["split"]): row for row in rows}
    columns = {name: key for name, key in SCORES.items() if any(split == key[0] for *_, split in summary)}
    lines = []
    for cell in cells:
        scores = [_score(summary.get((*cell, split)), metric) for split, metric in columns.values()]
        seeds = max(int(summary[key]["seeds"]) for key in summary if key[:2] == cell)
        lines.append([*cell, str(seeds), *scores, f"{task.trainable_share(cell, aims.shots):.2%}"])
    return f"{title}\n\n{markdown_table(['init', 'tuning', 'seeds', *columns, 'trained'], lines)}"


def _score(row: Mapping[Any, Any] | None, metric: str) -> str:
    return "" if row is None else interval(row, metric)
