"""The tables of a run as one: a row for each (image, observation, source)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from doll_monai.data.ground_truth import GroundTruth
from doll_monai.metrics.localization import MIN_TABLE_PAIRS, PAIR, at_shares, choose_shares, pair_count
from doll_monai.utils.errors import InputError
from doll_tools.prepare.chexpert import patient_of

ALL = "all"
"""Stands for all observations together."""


def read_pairs(
    folder: str | os.PathLike[str],
    sections: Mapping[str, Sequence[Mapping[str, Any]]],
    truth: GroundTruth,
    choose_on: str | None = None,
) -> pd.DataFrame:
    """What each source scored on each pair.

    Args:
        folder: has ``localization.csv``, ``chance.csv`` and ``agreement.csv`` of a run of ``gate.json``.
        sections: section to its records; the pairs of different sections are never pooled.
        truth: the known places.
        choose_on: section on whose images each source's best share is chosen, for the images of the others; with fewer
            than 30 pairs nothing is chosen.

    Returns:
        ``section``, ``patient``, ``image``, ``observation``, ``source``, ``truth_share``; ``share``, ``iou`` and
        ``hit`` at the label's own share; ``chosen_share`` and ``iou_chosen_share``, NaN where none was chosen;
        ``completeness`` of the committee and of its members; the columns of ``MapAgreement`` at the consensus.

    Raises:
        InputError: when an image stands in two sections.
    """
    folder = Path(folder)
    scores = pd.concat([pd.read_csv(folder / "localization.csv"), pd.read_csv(folder / "chance.csv")])
    agreement = pd.read_csv(folder / "agreement.csv")
    scores["section"] = scores["image"].map(_sections_of(sections, truth))
    scores["patient"] = [patient_of(image) or image for image in scores["image"]]
    scores = scores.merge(agreement[[*PAIR, "label_share"]], on=PAIR, validate="many_to_one")
    pairs = scores[np.isclose(scores["share"], scores["label_share"])].drop(columns="label_share")
    keys = [*PAIR, "source"]
    chosen = _at_chosen_shares(scores, choose_on)
    pairs = pairs.merge(chosen[[*keys, "chosen_share", "iou_chosen_share"]], on=keys, how="left")
    pairs = pairs.merge(_completeness(agreement), on=keys, how="left")
    others = [name for name in agreement.columns if name.startswith("completeness_")]
    of_consensus = agreement.drop(columns=[*others, "label_share"]).assign(source="consensus")
    return pairs.merge(of_consensus, on=keys, how="left")


def _sections_of(sections: Mapping[str, Sequence[Mapping[str, Any]]], truth: GroundTruth) -> dict[str, str]:
    result: dict[str, str] = {}
    for section, records in sections.items():
        for record in records:
            image = truth.relative(record["image"])
            if result.setdefault(image, section) != section:
                raise InputError(f"The image {image} stands in '{result[image]}' and in '{section}' of the datalist.")
    return result


def _at_chosen_shares(scores: pd.DataFrame, choose_on: str | None) -> pd.DataFrame:
    """The rows at the shares chosen on one section, of the images of all others; chance takes the consensus' shares."""
    names = {"share": "chosen_share", "iou": "iou_chosen_share"}
    choosing = scores[scores["section"] == choose_on]
    if pair_count(choosing) < MIN_TABLE_PAIRS:
        return scores.iloc[:0].rename(columns=names)
    shares = choose_shares(choosing)
    shares["chance"] = shares.get("consensus", shares["chance"])
    others = scores[scores["section"] != choose_on]
    parts = [at_shares(rows, shares[str(source)]) for source, rows in others.groupby("source")]
    return pd.concat([*parts, others.iloc[:0]]).rename(columns=names)


def _completeness(agreement: pd.DataFrame) -> pd.DataFrame:
    """Completeness error of each pair: of each member, and the mean of the members, which is the consensus'."""
    columns = [name for name in agreement.columns if name.startswith("completeness_")]
    sources = {name: f"member_{name.removeprefix('completeness_')}" for name in columns}
    wide = agreement[[*PAIR, *columns]].rename(columns=sources)
    wide["consensus"] = wide[list(sources.values())].mean(axis=1)
    return wide.melt(PAIR, var_name="source", value_name="completeness")
