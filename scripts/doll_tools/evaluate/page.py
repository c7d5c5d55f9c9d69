"""The label quality check as a page of Markdown that ends with the decision."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from doll_tools.evaluate.decision import Decision
from doll_tools.evaluate.scores import ALL

IMAGES = {
    "training": "images on which the classifiers were trained",
    "validation": "images on which the classifiers' best epochs were chosen",
    "test": "images that the classifiers have not seen",
}
OVERALL = ["source", "share", "IoU", "hit", "consensus minus it", "completeness error"]
NOTE = (
    "IoU and hit (the maximum of the map lies in the ground truth) are means over pairs of an image and an "
    "observation, in brackets 95 % intervals over patients. `share`: of the image that is foreground, the label's own. "
    "`randomized`: the consensus of the same networks with all parameters drawn anew. Two floors never see the image: "
    "`chance`, the consensus' region at a random place, and `location_prior`, the mean ground truth of the finding in "
    "other patients' images. Completeness error: median, and 95th percentile."
)
LIKENESS = {
    "two members": ("agreement", None),
    "a member and itself randomized": ("randomized", "randomized_iou"),
    "a map and itself elsewhere": ("unrelated", "unrelated_iou"),
}


def page(table: pd.DataFrame, decisions: Sequence[Decision]) -> str:
    """The page, of ``score_table`` and one decision a section, the last of which counts."""
    parts = ["# Label quality check", NOTE]
    for decision in decisions:
        rows = table[table["section"] == decision.section]
        parts.append(f"## {decision.section}: {IMAGES[decision.section]}")
        parts.append(f"{decision.pairs} pairs of {decision.patients} patients.")
        together = rows[rows["observation"] == ALL].set_index("source", drop=False)
        parts.append(markdown_table(OVERALL, [_overall(row) for row in together.to_dict("records")]))
        consensus = together.loc["consensus"].to_dict()
        lines = [
            [kind, *(_number(consensus[name]) if name else "" for name in (f"{maps}_rank", f"{maps}_ssim", iou))]
            for kind, (maps, iou) in LIKENESS.items()
        ]
        parts.append(markdown_table(["maps of", "rank correlation", "SSIM", "IoU of the labels"], lines))
        iou = rows[rows["observation"] != ALL].pivot(index="observation", columns="source", values="iou")
        pairs = rows.groupby("observation", sort=False)["pairs"].max().drop(ALL)
        lines = [[name, str(pairs[name]), *map(_number, iou.loc[name, list(together.index)])] for name in pairs.index]
        parts.append(markdown_table(["IoU", "pairs", *together.index], lines))
        parts.append("\n".join(f"- {sentence}" for sentence in decision.sentences()))
    last = decisions[-1]
    word = "pass" if last.passed else "do not pass"
    parts += ["## Decision", f"**By {last.section} images, the labels {word} the label quality check.**"]
    return "\n\n".join(parts) + "\n"


def _overall(row: dict) -> list[str]:
    error = _number(row["completeness_median"], ".1%")
    error += f", {row['completeness_p95']:.1%}" if error else ""
    difference = "" if row["source"] == "consensus" else _interval(row, "difference", "+.3f")
    return [row["source"], _number(row["share"]), *(_interval(row, name) for name in ("iou", "hit")), difference, error]


def _interval(row: dict, name: str, form: str = ".3f") -> str:
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
