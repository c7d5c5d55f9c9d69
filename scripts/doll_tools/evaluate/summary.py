"""How well each source of maps finds the ground truth, with the foreground share chosen on other images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from doll_monai.findings import FINDINGS
from doll_monai.handlers.localization import CHANCE, CONSENSUS, LOCATION_PRIOR

PAIR = ["image", "observation"]
DEFAULT_SHARE = 0.1
"""Of an image's pixels that is foreground."""
MIN_TABLE_PAIRS = 30
"""With fewer (image, observation) pairs for validation, nothing is chosen: all take ``DEFAULT_SHARE``."""
MIN_OBSERVATION_PAIRS = 5
"""With fewer of one observation, it takes the source's best share over all observations."""


def localization_summary(test: pd.DataFrame, validation: pd.DataFrame | None) -> dict[str, Any]:
    """Mean IoU and hits of all sources over the pairs of a table of ``handlers.localization``.

    Each source takes, for each observation, its own best share of the validation table (``choose_shares``); chance is
    the consensus' region elsewhere and takes the consensus' share.

    Returns:
        ``pairs``, ``threshold``, ``iou_*`` and ``hit_*`` of ``consensus``, ``single``, ``members``, ``gradcam``,
        ``chance`` and ``location_prior``, ``iou_consensus_default_share``, and ``by_observation``. A source that is
        not there is left out.
    """
    shares: dict[str, dict[str, float]] = {}
    if validation is not None and pair_count(validation) >= MIN_TABLE_PAIRS:
        shares = choose_shares(validation)
        shares[CHANCE] = shares.get(CONSENSUS, {})
    chosen = {source: at_shares(rows, shares.get(str(source), {})) for source, rows in test.groupby("source")}
    figures: dict[str, Any] = {"threshold": "validation" if shares else "default", "pairs": pair_count(test)}
    for score in ("iou", "hit"):
        means = {str(source): float(rows[score].mean()) for source, rows in chosen.items()}
        members = {source: mean for source, mean in means.items() if source.startswith("member_")}
        named = (CONSENSUS, "gradcam", CHANCE, LOCATION_PRIOR)
        figures |= {f"{score}_{source}": means[source] for source in named if source in means}
        if members:
            figures |= {f"{score}_members": members, f"{score}_single": sum(members.values()) / len(members)}
    if CONSENSUS in chosen:
        default = at_shares(test[test["source"] == CONSENSUS], {})
        figures["iou_consensus_default_share"] = float(default["iou"].mean())
    by_observation: dict[str, dict[str, float | int]] = {}
    for name in FINDINGS:
        for source in (CONSENSUS, "gradcam"):
            iou = chosen[source].query("observation == @name")["iou"] if source in chosen else None
            if iou is not None and len(iou):
                by_observation.setdefault(name, {}).update({source: float(iou.mean()), "pairs": len(iou)})
    return {**figures, "by_observation": by_observation}


def pair_count(table: pd.DataFrame) -> int:
    """Number of (image, observation) pairs of a table."""
    return len(table[PAIR].drop_duplicates())


def choose_shares(validation: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Source to observation to the share with the best mean IoU, the smaller one of equals; the key ``""`` stands for
    observations with too few pairs."""
    chosen: dict[str, dict[str, float]] = {}
    for source, rows in validation.groupby("source"):
        parts = {"": rows, **{str(name): part for name, part in rows.groupby("observation")}}
        enough = {name: part for name, part in parts.items() if not name or pair_count(part) >= MIN_OBSERVATION_PAIRS}
        chosen[str(source)] = {
            name: float(str(part.groupby("share")["iou"].mean().idxmax())) for name, part in enough.items()
        }
    return chosen


def at_shares(rows: pd.DataFrame, shares: Mapping[str, float]) -> pd.DataFrame:
    """The rows of one source at each observation's share, or at the one measured that is nearest to it."""
    wanted = rows["observation"].map(lambda name: shares.get(name, shares.get("", DEFAULT_SHARE)))
    nearest = (rows["share"] - wanted).abs().groupby(rows["observation"]).idxmin()
    return rows[rows["share"] == rows["observation"].map(rows["share"][nearest].set_axis(nearest.index))]
