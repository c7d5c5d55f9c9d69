"""The tables of a run as one: a row for each (image, observation, source)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from doll_monai.data.ground_truth import GroundTruth, patient_of
from doll_monai.utils.errors import InputError
from doll_tools.evaluate.summary import PAIR


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
    scores, agreement = (pd.read_csv(Path(folder) / f"{name}.csv") for name in ("localization", "agreement"))
    scores["section"] = scores["image"].map(_sections_of(sections, ground_truth))
    scores["patient"] = scores["image"].map(patient_of)
    scores = scores.merge(agreement[[*PAIR, "label_share"]], on=PAIR, validate="many_to_one")
    pairs = scores[np.isclose(scores["share"], scores["label_share"])].drop(columns="label_share")
    errors = [name for name in agreement.columns if name.startswith("completeness_")]
    members = agreement[errors].set_axis([f"member_{name.removeprefix('completeness_')}" for name in errors], axis=1)
    wide = pd.concat([agreement[PAIR], members], axis=1).assign(consensus=members.mean(axis=1))
    completeness = wide.melt(PAIR, var_name="source", value_name="completeness")
    likeness = agreement.drop(columns=[*errors, "label_share"]).assign(source="consensus")
    keys = [*PAIR, "source"]
    return pairs.merge(completeness, on=keys, how="left").merge(likeness, on=keys, how="left")


def _sections_of(sections: Mapping[str, Sequence[Mapping[str, Any]]], ground_truth: GroundTruth) -> dict[str, str]:
    result: dict[str, str] = {}
    for section, records in sections.items():
        for record in records:
            image = ground_truth.relative(record["image"])
            if result.setdefault(image, section) != section:
                raise InputError(f"The image {image} stands in '{result[image]}' and in '{section}' of the datalist.")
    return result
