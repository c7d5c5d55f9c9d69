"""The tables of a run as one, and the figures of each section, observation and source with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from doll_monai.data.datalist import SECTIONS
from doll_monai.data.ground_truth import GroundTruth, patient_of
from doll_monai.findings import FINDINGS
from doll_monai.utils.errors import InputError
from doll_tools.evaluate.agreement import LIKENESS
from doll_tools.evaluate.summary import PAIR
from doll_tools.intervals import RESAMPLES, crossed_interval

ALL = "all"
"""Stands for all observations together."""


def read_pairs(
    folder: Path, sections: Mapping[str, Sequence[Mapping[str, Any]]], ground_truth: GroundTruth
) -> pd.DataFrame:
    """What each source scored on each pair, at the label's own foreground share, from a run of ``quality_check.json``.

    Returns:
        ``section``, ``patient``, ``image``, ``observation``, ``source``, ``truth_share``, ``share``, ``iou`` and
        ``hit``; ``completeness`` of the committee and of its members; the columns of ``MapAgreement`` at the consensus.

    Raises:
        InputError: when an image stands in two sections, whose pairs are never pooled.
    """
    section_of: dict[str, str] = {}
    for section, records in sections.items():
        for image in (ground_truth.relative(record["image"]) for record in records):
            if section_of.setdefault(image, section) != section:
                raise InputError(f"The image {image} stands in '{section_of[image]}' and in '{section}'.")
    scores, agreement = (pd.read_csv(folder / f"{name}.csv") for name in ("localization", "agreement"))
    scores["section"], scores["patient"] = scores["image"].map(section_of), scores["image"].map(patient_of)
    scores = scores.merge(agreement[[*PAIR, "label_share"]], on=PAIR, validate="many_to_one")
    pairs = scores[np.isclose(scores["share"], scores["label_share"])].drop(columns="label_share")
    errors = agreement.set_index(PAIR).filter(like="completeness_")
    errors.columns = errors.columns.str.replace("completeness", "member")
    errors["consensus"] = errors.mean(axis=1)
    completeness = errors.melt(var_name="source", value_name="completeness", ignore_index=False).reset_index()
    likeness = agreement[[*PAIR, *LIKENESS]].assign(source="consensus")
    keys = [*PAIR, "source"]
    return pairs.merge(completeness, on=keys, how="left").merge(likeness, on=keys, how="left")


def score_table(pairs: pd.DataFrame, sources: Sequence[str], resamples: int = RESAMPLES, seed: int = 0) -> pd.DataFrame:
    """Means over the pairs of ``read_pairs``, with 95 % intervals over patients.

    Returns:
        one row a section, observation (``all`` together first) and source: ``pairs``, ``patients``, ``share``; ``iou``,
        ``hit`` and ``difference``, the consensus' IoU minus the source's on the same pairs, each with ``_low`` and
        ``_high``; ``completeness_median``, ``completeness_p95``; ``LIKENESS`` of ``MapAgreement`` at the consensus.
    """
    consensus = pairs[pairs["source"] == "consensus"].set_index(PAIR)["iou"]
    pairs = pairs.assign(difference=consensus.reindex(pd.MultiIndex.from_frame(pairs[PAIR])).to_numpy() - pairs["iou"])
    rows = []
    for section in SECTIONS:
        for observation in (ALL, *FINDINGS):
            some = pairs[(pairs["section"] == section) & ((pairs["observation"] == observation) | (observation == ALL))]
            for source in sources if len(some) else ():
                part = some[some["source"] == source]
                row: dict[str, Any] = {"section": section, "observation": observation, "source": source}
                row |= {"pairs": len(part), "patients": part["patient"].nunique(), "share": part["share"].mean()}
                for name in ("iou", "hit", "difference"):
                    found = crossed_interval(part[name], part["patient"], None, resamples, seed)
                    row |= dict(zip((name, f"{name}_low", f"{name}_high"), found, strict=True))
                row["completeness_median"], row["completeness_p95"] = part["completeness"].quantile([0.5, 0.95])
                rows.append(row | part[LIKENESS].mean().to_dict())
    return pd.DataFrame(rows)
