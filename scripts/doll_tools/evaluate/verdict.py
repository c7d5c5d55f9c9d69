"""Whether the labels of a section are worth pre-training on, in plain words."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from doll_monai.metrics.intervals import RESAMPLES, crossed_interval
from doll_monai.metrics.localization import PAIR

MAX_SAME_LABEL = 0.5
"""Labels of the randomized committee that overlap the real ones by more (IoU) are the same labels. Ours."""

Interval = tuple[float, float, float]


@dataclass(frozen=True)
class Verdict:
    """What the images of one section say.

    The interval of each difference (mean, lower, upper end) must lie above zero, else nothing is shown.

    Attributes:
        section: of the datalist.
        pairs, patients: how many were scored.
        over_chance: the consensus' IoU minus that of its regions anywhere in the image.
        over_randomized: the consensus' IoU minus that of the randomized committee.
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
    over_chance: Interval
    over_randomized: Interval
    agreement_over_randomized: Interval
    randomized_iou: Interval
    image_alone: float

    @property
    def beats_chance(self) -> bool:
        """Whether the consensus knows more of the places than chance."""
        return self.over_chance[1] > 0

    @property
    def failures(self) -> list[str]:
        """Why the randomization check fails; empty when it is passed."""
        found = []
        agreement = self.agreement_over_randomized
        if not math.isnan(agreement[0]) and not agreement[1] > 0:
            found.append("members are not shown to agree more with each other than with randomized networks")
        if not self.randomized_iou[2] < MAX_SAME_LABEL:
            found.append(f"labels of randomized networks may overlap the real ones by {MAX_SAME_LABEL} or more")
        if not self.over_randomized[1] > 0:
            found.append("labels are not shown to find the places better than those of randomized networks")
        return found

    @property
    def passed(self) -> bool:
        """Whether the gate is open."""
        return self.beats_chance and not self.failures

    def sentences(self) -> list[str]:
        """The verdict in words."""
        chance = "beats chance" if self.beats_chance else "is not shown to beat chance"
        check = "is passed" if not self.failures else f"fails: {'; '.join(self.failures)}"
        lines = [
            f"{self.section}: the consensus {chance} (IoU difference {signed(self.over_chance)}, "
            f"{self.pairs} pairs of {self.patients} patients).",
            f"{self.section}: the randomization check {check} (IoU over that of randomized networks "
            f"{signed(self.over_randomized)}).",
        ]
        if not math.isnan(self.image_alone):
            lines.append(
                f"{self.section}: {self.image_alone:.0%} of what two members' maps have in common (rank correlation) "
                "is also in the maps of networks that learnt nothing."
            )
        return lines

    def figures(self) -> dict[str, Any]:
        """All of it for ``evaluation.json``."""
        words = {"beats_chance": self.beats_chance, "failures": self.failures, "passed": self.passed}
        return {**asdict(self), **words, "sentences": self.sentences()}


def judge(pairs: pd.DataFrame, section: str, resamples: int = RESAMPLES, seed: int = 0) -> Verdict:
    """The verdict of one section's images.

    Args:
        pairs: of ``read_pairs``, with the sources ``consensus``, ``chance`` and ``randomized``.
        section: one that has pairs.
        resamples, seed: of ``crossed_interval``.
    """
    of_section = pairs[pairs["section"] == section]
    by_source = {str(source): rows.set_index(PAIR) for source, rows in of_section.groupby("source")}
    consensus = by_source["consensus"]

    def interval(values: pd.Series) -> Interval:
        return crossed_interval(values, consensus["patient"], None, resamples, seed)

    agreement, randomized, unrelated = (
        float(consensus[f"{name}_rank"].mean()) for name in ("agreement", "randomized", "unrelated")
    )
    common = agreement - unrelated
    return Verdict(
        section=section,
        pairs=len(consensus),
        patients=int(consensus["patient"].nunique()),
        over_chance=interval(consensus["iou"] - by_source["chance"].loc[consensus.index, "iou"]),
        over_randomized=interval(consensus["iou"] - by_source["randomized"].loc[consensus.index, "iou"]),
        agreement_over_randomized=interval(consensus["agreement_rank"] - consensus["randomized_rank"]),
        randomized_iou=interval(consensus["randomized_iou"]),
        image_alone=min(1.0, max(0.0, (randomized - unrelated) / common)) if common > 0 else float("nan"),
    )


def signed(interval: Interval) -> str:
    """A difference with its interval, such as ``+0.043 [+0.010, +0.081]``."""
    if math.isnan(interval[1]):
        return f"{interval[0]:+.3f}, too few patients for an interval"
    return f"{interval[0]:+.3f} [{interval[1]:+.3f}, {interval[2]:+.3f}]"
