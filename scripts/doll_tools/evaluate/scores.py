"""The tables of a run as one, and the figures of each section, observation and source with their intervals."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from doll_monai.data.datalist import SECTIONS
from doll_monai.data.ground_truth import GroundTruth, patient_of
from doll_monai.findings import FINDINGS
from doll_monai.metrics.intervals import RESAMPLES, crossed_interval
from doll_monai.utils.errors import InputError
from doll_tools.evaluate.agreement import LIKENESS
from doll_tools.evaluate.summary import PAIR

ALL = "all"
"""Stands for all observations together."""


def read_pairs(
    folder: str | os.PathLike[str], sections: Mapping[str, Sequence[Mapping[str, Any]]], ground_truth: GroundTruth
) -> pd.DataFrame:
    """What each source scored on each pair, at the label's own foreground share.

    Args:
        folder: has ``localization.csv`` and ``agreement.csv`` of a run of ``quality_check.json``.
        sections: section to its records; the pairs of different sections are never pooled.
        ground_truth: masks or boxes.

    Returns:
        ``section``, ``patient``, ``image``, ``observation``, ``source``, ``truth_share``, ``share``, ``iou`` and
        ``hit``; ``completeness`` of the committee and of its members; the columns of ``MapAgreement`` at the consensus.

    Raises:
        InputError: when an image stands in two sections.
    """
    section_of: dict[str, str] = {}
    for section, records in sections.items():
        for image in (ground_truth.relative(record["image"]) for record in records):
            if section_of.setdefault(image, section) != section:
                raise InputError(f"The image {image} stands in '{section_of[image]}' and in '{section}'.")
    scores, agreement = (pd.read_csv(Path(folder) / f"{name}.csv") for name in ("localization", "agreement"))
    scores["section"], scores["patient"] = scores["image"].map(section_of), scores["image"].map(patient_of)
    scores = scores.merge(agreement[[*PAIR, "label_share"]], on=PAIR, validate="many_to_one")
    pairs = scores[np.isclose(scores["share"], scores["label_share"])].drop(columns="label_share")
    errors = [name for name in agreement.columns if name.startswith("completeness_")]
    members = agreement[errors].set_axis([f"member_{name.removeprefix('completeness_')}" for name in errors], axis=1)
    wide = pd.concat([agreement[PAIR], members], axis=1).assign(consensus=members.mean(axis=1))
    completeness = wide.melt(PAIR, var_name="source", value_name="completeness")
    likeness = agreement.drop(columns=[*errors, "label_share"]).assign(source="consensus")
    keys = [*PAIR, "source"]
    return pairs.merge(completeness, on=keys, how="left").merge(likeness, on=keys, how="left")


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
