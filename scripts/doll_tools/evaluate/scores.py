"""Figures of each section, observation and source, with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from doll_monai.data.datalist import SECTIONS
from doll_monai.findings import FINDINGS
from doll_monai.handlers.agreement import LIKENESS
from doll_monai.metrics.intervals import RESAMPLES, crossed_interval
from doll_tools.evaluate.summary import PAIR

ALL = "all"
"""Stands for all observations together."""


def score_table(pairs: pd.DataFrame, sources: Sequence[str], resamples: int = RESAMPLES, seed: int = 0) -> pd.DataFrame:
    """Means over pairs, with 95 % intervals over patients.

    Args:
        pairs: of ``read_pairs``.
        sources: names of the sources to show, in this order.
        resamples, seed: of ``crossed_interval``.

    Returns:
        one row a section, observation (``all`` together first) and source: ``pairs``, ``patients``, ``share``; ``iou``,
        ``hit`` and ``difference``, the consensus' IoU minus the source's on the same pairs, each with ``_low`` and
        ``_high``; ``completeness_median``, ``completeness_p95``; ``LIKENESS`` of ``MapAgreement`` at the consensus.
    """
    rows = []
    for section in (name for name in SECTIONS if name in set(pairs["section"])):
        of_section = pairs[pairs["section"] == section]
        for observation in (ALL, *(name for name in FINDINGS if name in set(of_section["observation"]))):
            some = of_section if observation == ALL else of_section[of_section["observation"] == observation]
            by_source = {source: some[some["source"] == source].set_index(PAIR) for source in sources}
            for source, part in by_source.items():
                where = {"section": section, "observation": observation, "source": source}
                rows.append(where | _row(part, by_source["consensus"], resamples, seed))
    return pd.DataFrame(rows)


def _row(part: pd.DataFrame, consensus: pd.DataFrame, resamples: int, seed: int) -> dict[str, Any]:
    row: dict[str, Any] = {"pairs": len(part), "patients": part["patient"].nunique(), "share": part["share"].mean()}
    difference = consensus.loc[part.index, "iou"] - part["iou"]
    for name, values in (("iou", part["iou"]), ("hit", part["hit"]), ("difference", difference)):
        found = crossed_interval(values, part["patient"], None, resamples, seed)
        row |= dict(zip((name, f"{name}_low", f"{name}_high"), found, strict=True))
    row["completeness_median"], row["completeness_p95"] = part["completeness"].quantile([0.5, 0.95])
    return row | {name: part[name].mean() for name in LIKENESS}
