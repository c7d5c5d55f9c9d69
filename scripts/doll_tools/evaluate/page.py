"""The label quality check as a page of Markdown that ends with the decision."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from doll_tools.evaluate.decision import FLOORS, Decision
from doll_tools.evaluate.scores import ALL
from doll_tools.intervals import Interval
from doll_tools.markdown import interval, markdown_table, number, render

TEMPLATE = Path(__file__).with_name("evaluation.md.j2")
OVERALL = ["source", "share", "IoU", "hit", "consensus minus it", "completeness error"]
LIKENESS = {
    "two members": ("agreement_rank",),
    "a member and itself randomized": ("randomized_rank", "randomized_iou"),
    "a map and itself elsewhere": ("unrelated_rank", "unrelated_iou"),
}


def page(table: pd.DataFrame, decisions: Sequence[Decision]) -> str:
    """The page, of ``score_table`` and one decision a section, the last of which counts."""
    sections = [(decision, _tables(table[table["section"] == decision.section])) for decision in decisions]
    return render(TEMPLATE, sections=sections, floors=FLOORS, signed=signed)


def _tables(rows: pd.DataFrame) -> list[str]:
    """All observations together by source; how alike maps are; each observation's IoU by source."""
    together = rows[rows["observation"] == ALL].set_index("source")
    overall = []
    for source, row in together.to_dict("index").items():
        scores = [interval(row, "iou"), interval(row, "hit")]
        scores.append("" if source == "consensus" else interval(row, "difference", "+.3f"))
        errors = [number(row[f"completeness_{name}"], ".1%") for name in ("median", "p95")]
        overall.append([str(source), number(row["share"]), *scores, ", ".join(filter(None, errors))])
    consensus = together.loc["consensus"]
    alike = [[kind, *(number(consensus[name]) for name in names)] for kind, names in LIKENESS.items()]
    alike[0].append("")
    iou = rows[rows["observation"] != ALL].pivot(index="observation", columns="source", values="iou")
    pairs = rows.groupby("observation", sort=False)["pairs"].max().drop(ALL)
    single = [[name, str(pairs[name]), *map(number, iou.loc[name, list(together.index)])] for name in pairs.index]
    return [
        markdown_table(OVERALL, overall),
        markdown_table(["maps of", "rank correlation", "IoU of the labels"], alike),
        markdown_table(["IoU", "pairs", *together.index], single),
    ]


def signed(found: Interval) -> str:
    """A difference with its interval, such as ``+0.043 [+0.010, +0.081]``."""
    value, low, high = found
    if math.isnan(value):
        return "no pair has both"
    ends = ", too few patients for an interval" if math.isnan(low) else f" [{low:+.3f}, {high:+.3f}]"
    return f"{value:+.3f}{ends}"
