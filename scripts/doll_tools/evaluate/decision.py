"""Whether the labels of a section are worth pre-training on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from doll_tools.evaluate.summary import PAIR
from doll_tools.intervals import RESAMPLES, Interval, crossed_interval

MAX_SAME_LABEL = 0.5
"""Labels of the randomized committee that overlap the real ones by more (IoU) are the same labels. Ours."""
FLOORS = {
    "chance": "chance (their own region at a random place)",
    "location_prior": "the location prior (where the finding lies in other patients)",
    "randomized": "the labels of randomized networks",
}
"""Sources that the labels must beat, in words."""


@dataclass(frozen=True)
class Decision:
    """What the images of one section say; the interval of each difference must lie above zero.

    Attributes:
        pairs, patients: how many were scored.
        over: floor to the consensus' IoU minus that of the floor, on the pairs that have both.
        agreement_over_randomized: rank correlation of members with each other minus that with themselves randomized;
            NaN for a lone member, who is not asked for it.
        randomized_iou: IoU of the real labels with those of the randomized committee.
        image_alone: how much of what members have in common a randomized committee has in common with them too:
            (randomized - unrelated) / (agreement - unrelated) of the rank correlations, within 0 ... 1; near 1, maps
            mostly show the image.
    """

    section: str
    pairs: int
    patients: int
    over: dict[str, Interval]
    agreement_over_randomized: Interval
    randomized_iou: Interval
    image_alone: float

    @property
    def failures(self) -> list[str]:
        """Why pre-training on the labels is not worth it; empty when it is."""
        missed = [words for name, words in FLOORS.items() if not self.over[name][1] > 0]
        found = [f"the labels are not shown to beat {words}" for words in missed]
        agreement = self.agreement_over_randomized
        if not math.isnan(agreement[0]) and not agreement[1] > 0:
            found.append("members are not shown to agree more with each other than with randomized networks")
        if not self.randomized_iou[2] < MAX_SAME_LABEL:
            found.append(f"labels of randomized networks may overlap the real ones by {MAX_SAME_LABEL} or more")
        return found

    @property
    def passed(self) -> bool:
        """Whether there are no failures."""
        return not self.failures


def decide(pairs: pd.DataFrame, section: str, resamples: int = RESAMPLES, seed: int = 0) -> Decision:
    """The decision by one section's images, from ``read_pairs``; a floor without rows is not beaten."""
    of_section = pairs[pairs["section"] == section]
    iou = of_section.pivot(index=PAIR, columns="source", values="iou")
    consensus = of_section[of_section["source"] == "consensus"].set_index(PAIR)

    def interval(values: pd.Series) -> Interval:
        return crossed_interval(values.reindex(consensus.index), consensus["patient"], None, resamples, seed)

    ranks = consensus[["agreement_rank", "randomized_rank", "unrelated_rank"]].mean()
    common, shared = (float(ranks.iloc[n] - ranks["unrelated_rank"]) for n in range(2))
    return Decision(
        section=section,
        pairs=len(consensus),
        patients=int(consensus["patient"].nunique()),
        over={name: interval(iou["consensus"] - iou.get(name, float("nan"))) for name in FLOORS},
        agreement_over_randomized=interval(consensus["agreement_rank"] - consensus["randomized_rank"]),
        randomized_iou=interval(consensus["randomized_iou"]),
        image_alone=float(np.clip(shared / common, 0, 1)) if common > 0 else float("nan"),
    )
