"""Figures of each section, observation and source, with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from doll_monai.data.datalist import SECTIONS
from doll_monai.findings import FINDINGS
from doll_monai.handlers.agreement import LIKENESS
from doll_monai.metrics.intervals import RESAMPLES, crossed_interval
from doll_monai.metrics.localization import PAIR
from doll_tools.evaluate.pairs import ALL


def score_table(pairs: pd.DataFrame, sources: Sequence[str], resamples: int = RESAMPLES, seed: int = 0) -> pd.DataFrame:
    """Means over pairs, with 95 % intervals over patients.

    Args:
        pairs: of ``read_pairs``.
        sources: names of the sources to show, in this order.
        resamples, seed: of ``crossed_interval``.

    Returns:
        one row a section, observation (``all`` together first) and source: ``pairs``, ``patients``; ``iou`` and
        ``hit`` with ``_low`` and ``_high``; ``share``; ``chosen_share``, ``iou_chosen_share``; ``difference``,
        ``difference_low``, ``difference_high``, the consensus' IoU minus the source's on the same pairs;
        ``completeness_median``, ``completeness_p95``; the columns ``LIKENESS`` of ``MapAgreement`` at the consensus.
    """
    rows = []
    for section in (name for name in SECTIONS if name in set(pairs["section"])):
        of_section = pairs[pairs["section"] == section]
        for observation in (ALL, *(name for name in FINDINGS if name in set(of_section["observation"]))):
            some = of_section if observation == ALL else of_section[of_section["observation"] == observation]
            reference = some[some["source"] == "consensus"].set_index(PAIR)
            for source in sources:
                part = some[some["source"] == source].set_index(PAIR)
                where = {"section": section, "observation": observation, "source": source}
                rows.append(where | _row(part, reference, resamples, seed))
    return pd.DataFrame(rows)


def _row(part: pd.DataFrame, reference: pd.DataFrame, resamples: int, seed: int) -> dict[str, Any]:
    row: dict[str, Any] = {"pairs": len(part), "patients": part["patient"].nunique(), "share": part["share"].mean()}
    for name in ("iou", "hit"):
        row |= _with_interval(name, part[name], part["patient"], resamples, seed)
    row |= {name: part[name].mean() for name in ("chosen_share", "iou_chosen_share")}
    difference = reference.loc[part.index, "iou"] - part["iou"]
    row |= _with_interval("difference", difference, part["patient"], resamples, seed)
    quantiles = part["completeness"].quantile([0.5, 0.95])
    row |= dict(zip(("completeness_median", "completeness_p95"), quantiles, strict=True))
    return row | {name: part[name].mean() for name in LIKENESS}


def _with_interval(name: str, values: pd.Series, patients: pd.Series, resamples: int, seed: int) -> dict[str, float]:
    found = crossed_interval(values, patients, None, resamples, seed)
    return dict(zip((name, f"{name}_low", f"{name}_high"), found, strict=True))
