"""How well each source of maps finds the ground truth, with the foreground share chosen on other images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from doll_monai.findings import FINDINGS
from doll_monai.handlers.localization import CHANCE, CONSENSUS, LOCATION_PRIOR
from doll_monai.metrics.localization import DEFAULT_SHARE

PAIR = ["image", "observation"]
MIN_TABLE_PAIRS = 30
"""With fewer (image, observation) pairs for validation, nothing is chosen: all take ``DEFAULT_SHARE``."""
MIN_OBSERVATION_PAIRS = 5
"""With fewer of one observation, it takes the source's best share over all observations."""


def localization_summary(test: pd.DataFrame, validation: pd.DataFrame | None) -> dict[str, Any]:
    """Mean IoU and hits of all sources over the pairs of a table.

    Each source takes, for each observation, its own best share of the validation table (``choose_shares``); chance is
    the consensus' region elsewhere and takes the consensus' share.

    Args:
        test: rows of ``doll_monai.handlers.localization.COLUMNS``.
        validation: the same of other images, or None.

    Returns:
        ``pairs``, ``threshold``, ``iou_*`` and ``hit_*`` of ``consensus``, ``single``, ``members``, ``gradcam``,
        ``chance`` and ``location_prior``, ``iou_consensus_default_share``, and ``by_observation``. A source that is
        not there is left out.
    """
    enough = validation is not None and pair_count(validation) >= MIN_TABLE_PAIRS
    shares = choose_shares(validation) if enough and validation is not None else {}
    shares[CHANCE] = shares.get(CONSENSUS, {})
    chosen = {str(source): at_shares(rows, shares.get(str(source), {})) for source, rows in test.groupby("source")}
    figures: dict[str, Any] = {"threshold": "validation" if enough else "default", "pairs": pair_count(test)}
    for score in ("iou", "hit"):
        means = {source: float(rows[score].mean()) for source, rows in chosen.items()}
        members = {source: mean for source, mean in sorted(means.items()) if source.startswith("member_")}
        named = (CONSENSUS, "gradcam", CHANCE, LOCATION_PRIOR)
        figures |= {f"{score}_{source}": means[source] for source in named if source in means}
        if members:
            figures |= {f"{score}_members": members, f"{score}_single": sum(members.values()) / len(members)}
    if CONSENSUS in chosen:
        default = at_shares(test[test["source"] == CONSENSUS], {})
        figures["iou_consensus_default_share"] = float(default["iou"].mean())
    figures["by_observation"] = _by_observation(chosen)
    return figures


def pair_count(table: pd.DataFrame) -> int:
    """Number of (image, observation) pairs of a table."""
    return len(table[PAIR].drop_duplicates())


def choose_shares(validation: pd.DataFrame) -> dict[str, dict[str, float]]:
    """The share with the best mean IoU, the smaller one of equals.

    Returns:
        source to observation to share; the key ``""`` stands for observations with too few pairs.
    """
    chosen: dict[str, dict[str, float]] = {}
    for source, rows in validation.groupby("source"):
        best = {"": _best_share(rows)}
        for observation, part in rows.groupby("observation"):
            if pair_count(part) >= MIN_OBSERVATION_PAIRS:
                best[str(observation)] = _best_share(part)
        chosen[str(source)] = best
    return chosen


def at_shares(rows: pd.DataFrame, shares: dict[str, float]) -> pd.DataFrame:
    """The rows of one source at each observation's share, or at the one measured that is nearest to it."""
    parts = []
    for observation, part in rows.groupby("observation"):
        wanted = shares.get(str(observation), shares.get("", DEFAULT_SHARE))
        measured = part["share"].to_numpy(dtype=float)
        parts.append(part[measured == measured[np.abs(measured - wanted).argmin()]])
    return pd.concat(parts)


def _best_share(rows: pd.DataFrame) -> float:
    means = rows.groupby("share", as_index=False)["iou"].mean()
    return float(means["share"].iloc[int(means["iou"].to_numpy().argmax())])


def _by_observation(chosen: dict[str, pd.DataFrame]) -> dict[str, dict[str, float | int]]:
    """IoU of the consensus and of Grad-CAM, and the number of pairs, in the order of the observations."""
    table: dict[str, dict[str, float | int]] = {}
    for source in (CONSENSUS, "gradcam"):
        for observation, rows in chosen[source].groupby("observation") if source in chosen else ():
            table.setdefault(str(observation), {}).update({source: float(rows["iou"].mean()), "pairs": len(rows)})
    return {name: table[name] for name in FINDINGS if name in table}
