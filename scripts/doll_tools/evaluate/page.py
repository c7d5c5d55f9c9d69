"""The evaluation as a page of Markdown that ends with the verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from doll_tools.evaluate.pairs import ALL
from doll_tools.evaluate.verdict import Verdict

IMAGES = {
    "training": "images on which the classifiers were trained",
    "validation": "images on which the classifiers' best epochs were chosen",
    "test": "images that the classifiers have not seen",
}
OVERALL = ["source", "share", "IoU", "hit", "consensus minus it", "IoU at chosen share", "completeness error"]
NOTE = (
    "IoU and hit (the maximum of the map lies in the place) are means over pairs of an image and an observation; in "
    "brackets 95 % intervals over patients. `share`: of the image that is foreground, the label's own. `chance` is the "
    "consensus' region anywhere in the image; `randomized` the consensus of the same networks with all parameters drawn "
    "anew. Completeness error: median, and 95th percentile."
)


def page(table: pd.DataFrame, verdicts: Sequence[Verdict], notes: Sequence[str]) -> str:
    """The page.

    Args:
        table: of ``score_table``.
        verdicts: one a section; the last decides.
        notes: sentences about what was left out.
    """
    parts = ["# Do the labels show what the classifiers know?", NOTE, *notes]
    for verdict in verdicts:
        rows = table[table["section"] == verdict.section]
        title = f"## {verdict.section}: {IMAGES[verdict.section]}"
        parts += [f"{title}\n\n{verdict.pairs} pairs of {verdict.patients} patients."]
        together = rows[rows["observation"] == ALL]
        parts.append(markdown_table(OVERALL, [_overall(row) for row in together.to_dict("records")]))
        (consensus,) = together[together["source"] == "consensus"].to_dict("records")
        parts.append(_likeness(consensus))
        parts.append(_by_observation(rows[rows["observation"] != ALL]))
    lines = [f"- {line}" for verdict in verdicts for line in verdict.sentences()]
    decides = verdicts[-1]
    word = "the labels pass" if decides.passed else "the labels do not pass"
    parts += ["## Verdict", "\n".join(lines), f"**By {decides.section} images, {word} the gate.**"]
    return "\n\n".join(parts) + "\n"


def _overall(row: dict) -> list[str]:
    difference = "" if row["source"] == "consensus" else _interval(row, "difference", "+.3f")
    error = _number(row["completeness_median"], ".1%")
    error += f", {row['completeness_p95']:.1%}" if error else ""
    scores = [_interval(row, name, ".3f") for name in ("iou", "hit")]
    return [row["source"], _number(row["share"]), *scores, difference, _number(row["iou_chosen_share"]), error]


def _by_observation(rows: pd.DataFrame) -> str:
    """IoU of every source, a row an observation; all else is in ``evaluation.csv``."""
    sources = list(rows["source"].unique())
    lines = []
    for observation, part in rows.groupby("observation", sort=False):
        iou = part.set_index("source")["iou"]
        lines.append([str(observation), str(part["pairs"].max()), *(_number(iou[source]) for source in sources)])
    return markdown_table(["IoU", "pairs", *sources], lines)


def _likeness(row: dict) -> str:
    """The randomization check's table."""
    kinds = {
        "two members": ("agreement", None),
        "a member and itself randomized": ("randomized", "randomized_iou"),
        "a map and itself elsewhere": ("unrelated", "unrelated_iou"),
    }
    lines = [
        [kind, *(_number(row[f"{name}_{measure}"]) for measure in ("rank", "ssim")), _number(row[iou]) if iou else ""]
        for kind, (name, iou) in kinds.items()
    ]
    return markdown_table(["maps of", "rank correlation", "SSIM", "IoU of the labels"], lines)


def _interval(row: dict, name: str, form: str) -> str:
    value, low, high = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
    ends = "" if math.isnan(low) else f" [{low:{form}}, {high:{form}}]"
    return f"{_number(value, form)}{ends}"


def _number(value: float, form: str = ".3f") -> str:
    return "" if math.isnan(value) else f"{value:{form}}"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns line up in a terminal."""
    lines = [list(header), *map(list, rows)]
    widths = [max(3, *(len(line[column]) for line in lines)) for column in range(len(header))]
    lines.insert(1, ["-" * width for width in widths])
    padded = ([cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in padded)
