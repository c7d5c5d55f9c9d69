"""The measurement as a page of Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from doll_monai.metrics.paired_differences import ALL
from doll_tools.compare.page import interval
from doll_tools.evaluate.page import markdown_table
from doll_tools.pretraining_gain.gain import overall

DRAWN = "These are drawn films (the phantom); they say nothing about clinical ones."
NOTE = (
    "IoU on test films, the mean of {classes}; gain: minus that of the same network trained as a whole from scratch on "
    "the same films with the same seeds, in brackets the 95 % bootstrap interval of the paired difference over seeds "
    "and patients. Of two or three seeds such an interval is too narrow, and it holds nothing of the chance in "
    "pre-training, whose seed is one. Label quality: mean IoU of labels with the truth over films and observations. "
    "All pre-trainings have the same number of iterations whatever the number of films; of each the validation with "
    "the best IoU with its own labels is kept. To scratch's IoU: iterations until the IoU on valid films is scratch's "
    "last, the median over the seeds that get there, and their share."
)


def page(table: pd.DataFrame, settings: Mapping[str, Any], command: str, date: str) -> str:
    """The page.

    Args:
        table: of ``gain_table``.
        settings: of ``GainRequest``: ``image_size``, ``pretraining_iterations``, ``pretraining_batch_size``.
        command: exactly as it was given.
        date: of the run.
    """
    classes = [name for name in dict.fromkeys(table["class"]) if name != ALL]
    rows = overall(table)
    last = rows["iterations"].max()
    facts = (
        f"Pre-training: {settings['pretraining_iterations']} iterations, batches of "
        f"{settings['pretraining_batch_size']}; fine-tuning: {last} iterations; {settings['image_size']} px. "
        f"{date}."
    )
    parts = [
        "# What pre-training gains, by label quality and number of films",
        DRAWN,
        f"    {command}",
        facts,
        NOTE.format(classes=", ".join(classes)),
        "![gain against label quality](gain.png)",
    ]
    for key, part in rows.groupby(["tuning", "shots"], sort=False):
        tuning, shots = str(key[0]), int(str(key[1]))
        title = f"## {shots} annotated film{'s' * (shots > 1)}, {tuning} fine-tuning"
        scratch = f"From scratch: IoU {part['scratch_iou'].iloc[0]:.3f}."
        parts += [title, scratch, _table(part, table, classes)]
    return "\n\n".join(parts) + "\n"


def _table(rows: pd.DataFrame, table: pd.DataFrame, classes: list[str]) -> str:
    header = ["labels", "wanted", "quality", "films", "IoU", "gain", *(f"gain {name}" for name in classes)]
    lines = []
    for row in rows.to_dict("records"):
        same = (table[["init", "tuning", "shots"]] == [row["init"], row["tuning"], row["shots"]]).all(axis=1)
        by_class = table[same].set_index("class")["gain"]
        clear = "**" if row["gain_low"] > 0 or row["gain_high"] < 0 else ""
        cells = [row["labels"], row["quality_wanted"], f"{row['quality']:.2f}", str(row["films"])]
        cells += [interval(row, "iou"), f"{clear}{interval(row, 'gain', '+.3f')}{clear}"]
        lines.append([*cells, *(f"{by_class[name]:+.3f}" for name in classes), _speed(row)])
    return markdown_table([*header, "to scratch's IoU"], lines)


def _speed(row: Mapping[Any, Any]) -> str:
    steps = row["iterations_to_scratch"]
    return "never" if math.isnan(steps) else f"{steps:.0f} of {row['iterations']} ({row['reached']:.0%})"
