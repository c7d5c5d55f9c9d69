"""A committee: an ensemble of classifiers as one network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn


class Committee(nn.Module):
    """Mean logits of K >= 1 classifiers of the same observations, each ``(B, C, H, W) -> (B, T)`` logits.

    An ``EnsembleEvaluator`` runs the members one by one, while the committee itself is an ordinary network with one
    ``model.pt``.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        if len(members) == 0:
            raise ValueError("A committee needs at least one member.")
        self.members = nn.ModuleList(members)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([member(x) for member in self.members]).mean(dim=0)


def member_keys(prefix: str, committee: Committee) -> list[str]:
    """Keys of the members' results in an engine's output: ``{prefix}_0``, ``{prefix}_1``, ..."""
    return [f"{prefix}_{number}" for number in range(len(committee.members))]


def consensus_keys(prefix: str, committee: Committee) -> list[str]:
    """The same for ``MeanEnsembled``, which takes a single key for a stack: a lone member is named twice."""
    keys = member_keys(prefix, committee)
    return keys * 2 if len(keys) == 1 else keys
