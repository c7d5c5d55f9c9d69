"""Which parameters an optimizer gets, at which rate; how a network is described."""

from __future__ import annotations

import pytest
from torch import nn

from doll_monai.networks.adapters import AdaptedNetwork
from doll_monai.networks.committee import Committee
from doll_monai.networks.parameters import count_parameters, describe_network, parameter_groups
from doll_monai.utils.errors import InputError
from small_pspnet import small_pspnet


def test_parameter_groups_give_each_part_its_rate_and_leave_out_frozen_parameters() -> None:
    network = small_pspnet()
    network.decoder.requires_grad_(False)
    groups = parameter_groups(network, {"backbone": 0.1}, 1.0)
    assert [group["lr"] for group in groups] == [0.1, 1.0]
    expected = (network.backbone,), (network.pyramid, network.head)
    for group, parts in zip(groups, expected, strict=True):
        assert {id(p) for p in group["params"]} == {id(p) for part in parts for p in part.parameters()}


def test_a_part_that_is_not_there_may_only_have_the_rate_of_the_rest() -> None:
    assert len(parameter_groups(nn.Linear(2, 2), {"backbone": 1.0}, 1.0)) == 1
    with pytest.raises(InputError, match="network_def has no backbone that could learn at a rate of its own"):
        parameter_groups(nn.Linear(2, 2), {"backbone": 0.1}, 1.0)


def test_trained_parameters_are_counted() -> None:
    network = nn.Sequential(nn.Linear(9, 10), nn.Linear(10, 90))
    network[1].requires_grad_(False)
    assert count_parameters(network) == (100, 1090)
    assert str(count_parameters(network)) == "100 of 1,090 parameters (9.17%)"


def test_a_description_names_the_networks_inside() -> None:
    assert describe_network(AdaptedNetwork(small_pspnet())) == "AdaptedNetwork(PSPNet(DilatedResNet))"
    assert describe_network(Committee([nn.Linear(1, 1), nn.PReLU()])) == "Committee(Linear, PReLU)"
