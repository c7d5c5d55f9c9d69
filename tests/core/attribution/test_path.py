"""A path through a network: stem and rest together are the network, whatever the network is."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import nn

from doll_monai.attribution.integrated_gradients import path_gradient
from doll_monai.attribution.path import path_through

from .networks import TARGETS, densenet, efficientnet, resnet, with_statistics


class Branching(nn.Module):
    """The image goes into two layers, so that no single one can stand at its beginning."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(1, 4, 3, padding=1)
        self.fc = nn.Linear(4, TARGETS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc((torch.relu(self.left(x)) * torch.sigmoid(self.right(x))).mean((2, 3)))


class Looking(nn.Module):
    """Decides by the values of its input, which cannot be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(1, 4, 3), nn.Linear(4, TARGETS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if bool(x.sum() > 1e9):
            x = x / 2
        return self.fc(torch.tanh(self.conv(x)).mean((2, 3)))


class Squaring(nn.Module):
    """Bends the path before its first convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(1, 4, 3), nn.Linear(4, TARGETS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(torch.relu(self.conv(x * x)).mean((2, 3)))


@pytest.mark.parametrize("build", [resnet, densenet, efficientnet])
def test_stem_and_rest_are_the_network_and_the_path_is_straight_between_them(build) -> None:
    network, image = with_statistics(build()), torch.rand(3, 1, 48, 40)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with torch.no_grad():
        expected = network(image)
        path = path_through(network)
        assert path.stem is not None
        torch.testing.assert_close(path.rest(path.enter(image)), expected, rtol=1e-4, atol=1e-5)
        assert torch.equal(network(image), expected)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.requires_grad for parameter in network.parameters())
    middle = 0.7 * path.enter(torch.zeros_like(image)) + 0.3 * path.enter(image)
    torch.testing.assert_close(path.enter(0.3 * image), middle, rtol=1e-4, atol=1e-5)


def test_back_is_the_transpose_of_enter() -> None:
    path = path_through(with_statistics(efficientnet()))
    image, black = torch.rand(2, 1, 32, 48), torch.zeros(2, 1, 32, 48)
    linear = path.enter(image) - path.enter(black)
    gradient = torch.randn_like(linear)
    back = path.back(gradient, 32, 48)
    assert back.shape == (2, 32, 48)
    torch.testing.assert_close(
        (back * image[:, 0]).sum((1, 2)), (gradient * linear).sum((1, 2, 3)), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("build", [Branching, Looking, Squaring])
def test_a_network_that_cannot_be_split_is_taken_as_a_whole(build) -> None:
    network, image = build().eval(), torch.rand(2, 1, 16, 16)
    assert path_through(network).stem is None
    wanted = torch.zeros(2, TARGETS, dtype=torch.bool)
    wanted[:, 3] = True
    result = path_gradient(network, image, wanted, n_steps=3)
    plain = path_gradient(lambda x: network(x), image, wanted, n_steps=3)
    torch.testing.assert_close(result.gradient, plain.gradient)
    assert float(result.gradient[:, 3].abs().sum()) > 0


def test_a_network_that_cannot_be_traced_is_named_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="doll_monai"):
        path_through(resnet())
        path_through(Branching())
        assert not caplog.records
        path_through(Looking())
    (record,) = caplog.records
    assert record.getMessage().startswith("Looking is explained as a whole, since torch.fx cannot trace it")
