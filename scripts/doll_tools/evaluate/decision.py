"""Whether the labels of a section are worth pre-training on, in plain words."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from doll_monai.metrics.intervals import RESAMPLES, Interval, crossed_interval
from doll_tools.evaluate.summary import PAIR

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
        section: of the datalist.
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
        found = [
            f"the labels are not shown to beat {FLOORS[name]}" for name, over in self.over.items() if not over[1] > 0
        ]
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

    def sentences(self) -> list[str]:
        """The decision in words."""
        lines = [f"IoU of the labels minus that of {FLOORS[name]}: {signed(over)}." for name, over in self.over.items()]
        if not math.isnan(self.image_alone):
            common = (
                "of what maps of two members have in common (rank correlation) those of randomized networks have too"
            )
            lines.append(f"{self.image_alone:.0%} {common}.")
        return [*lines, *(f"Not passed: {failure}." for failure in self.failures)]

    def figures(self) -> dict[str, Any]:
        """All of it for ``evaluation.json``."""
        return {**asdict(self), "failures": self.failures, "passed": self.passed, "sentences": self.sentences()}


def decide(pairs: pd.DataFrame, section: str, resamples: int = RESAMPLES, seed: int = 0) -> Decision:
    """The decision by one section's images.

    Args:
        pairs: of ``read_pairs``, with the sources ``consensus`` and ``FLOORS``; a floor without rows is not beaten.
        section: one that has pairs.
        resamples, seed: of ``crossed_interval``.
    """
    of_section = pairs[pairs["section"] == section]
    iou = of_section.pivot(index=PAIR, columns="source", values="iou")
    consensus = of_section[of_section["source"] == "consensus"].set_index(PAIR)

    def interval(values: pd.Series) -> Interval:
        return crossed_interval(values.reindex(consensus.index), consensus["patient"], None, resamples, seed)

    ranks = {name: float(consensus[f"{name}_rank"].mean()) for name in ("agreement", "randomized", "unrelated")}
    common, shared = (ranks[name] - ranks["unrelated"] for name in ("agreement", "randomized"))
    return Decision(
        section=section,
        pairs=len(consensus),
        patients=int(consensus["patient"].nunique()),
        over={name: interval(iou["consensus"] - iou.get(name, float("nan"))) for name in FLOORS},
        agreement_over_randomized=interval(consensus["agreement_rank"] - consensus["randomized_rank"]),
        randomized_iou=interval(consensus["randomized_iou"]),
        image_alone=min(1.0, max(0.0, shared / common)) if common > 0 else float("nan"),
    )


def signed(interval: Interval) -> str:
    """A difference with its interval, such as ``+0.043 [+0.010, +0.081]``."""
    if math.isnan(interval[0]):
        return "no pair has both"
    if math.isnan(interval[1]):
        return f"{interval[0]:+.3f}, too few patients for an interval"
    return f"{interval[0]:+.3f} [{interval[1]:+.3f}, {interval[2]:+.3f}]"
