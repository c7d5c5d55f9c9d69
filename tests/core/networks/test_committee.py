"""The committee is an ordinary network: the mean of its members."""

from __future__ import annotations

import pytest
import torch
from monai.networks.nets import DenseNet
from torch import nn

from doll_monai.networks.committee import Committee, consensus_keys, member_keys
from small_pspnet import small_resnet


def _densenet() -> nn.Module:
    return DenseNet(2, 1, 14, init_features=8, growth_rate=4, block_config=(2, 2))


@pytest.fixture
def committee() -> Committee:
    return Committee([small_resnet(), _densenet(), small_resnet()]).eval()


def test_logits_are_the_mean_of_the_members(committee: Committee) -> None:
    x = torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        logits = [member(x) for member in committee.members]
        torch.testing.assert_close(committee(x), (logits[0] + logits[1] + logits[2]) / 3)
        torch.testing.assert_close(torch.jit.script(committee)(x), committee(x), rtol=1e-5, atol=1e-5)
    assert committee(x).shape == (2, 14)


def test_keys_number_the_members_and_a_lone_one_is_named_twice_for_the_consensus(committee: Committee) -> None:
    assert member_keys("pred", committee) == consensus_keys("pred", committee) == ["pred_0", "pred_1", "pred_2"]
    assert consensus_keys("pred", Committee([small_resnet()])) == ["pred_0", "pred_0"]


def test_an_empty_committee_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one member"):
        Committee([])
