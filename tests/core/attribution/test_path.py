"""A path through a network: stem and rest together are the network, whatever the network is."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

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
        path = path_through(network, image)
        assert path.stem is not None
        torch.testing.assert_close(path.rest(path.enter(image)), expected, rtol=1e-4, atol=1e-5)
        assert torch.equal(network(image), expected)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.requires_grad for parameter in network.parameters())
    middle = 0.7 * path.enter(torch.zeros_like(image)) + 0.3 * path.enter(image)
    torch.testing.assert_close(path.enter(0.3 * image), middle, rtol=1e-4, atol=1e-5)


def test_back_is_the_transpose_of_enter() -> None:
    image, black = torch.rand(2, 1, 32, 48), torch.zeros(2, 1, 32, 48)
    path = path_through(with_statistics(efficientnet()), image)
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
    assert path_through(network, image).stem is None
    wanted = torch.zeros(2, TARGETS, dtype=torch.bool)
    wanted[:, 3] = True
    result = path_gradient(network, image, wanted, n_steps=3)
    plain = path_gradient(lambda x: network(x), image, wanted, n_steps=3)
    torch.testing.assert_close(result.gradient, plain.gradient)
    assert float(result.gradient[:, 3].abs().sum()) > 0


def test_a_network_that_cannot_be_traced_is_named_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="doll_monai"):
        image = torch.rand(1, 1, 32, 32)
        path_through(resnet(), image)
        path_through(Branching(), image)
        assert not caplog.records
        path_through(Looking(), image)
    (record,) = caplog.records
    assert record.getMessage().startswith("Looking is explained as a whole, since torch.fx cannot take it apart: ")


class Convolutions(nn.Module):
    """Layers of which networks are made that ``torch.fx`` could take apart into another network."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.conv = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.norm, self.other, self.relu = nn.BatchNorm2d(4), nn.BatchNorm2d(4), nn.ReLU(inplace=True)
        self.fc = nn.Linear(4, TARGETS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.features(x).mean((2, 3)))

    def features(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.norm(self.conv(torch.tanh(self.first(x)))))


class OneConvolutionTwoNorms(Convolutions):
    def features(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.tanh(self.norm(self.conv(torch.tanh(self.first(x)))))
        return torch.sigmoid(self.other(self.conv(x)))


class OneResultTwoNorms(Convolutions):
    def features(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        return torch.tanh(self.norm(x)) * torch.sigmoid(self.other(x))


class AgainAfterInPlace(Convolutions):
    def features(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.first(x))
        y = self.relu(x)
        return torch.sin(3 * x) + self.other(self.conv(y))


class FunctionInPlace(Convolutions):
    def features(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.first(x), inplace=True)
        return functional.relu(self.norm(self.conv(x)), inplace=True)


class ImageInPlace(Convolutions):
    """Normalizes the image where it lies, as many networks from elsewhere do."""

    def features(self, x: torch.Tensor) -> torch.Tensor:
        return super().features(x.sub_(0.5).div_(0.2))


class WeightTwice(Convolutions):
    def features(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(functional.conv2d(super().features(x), self.conv.weight))


class FirstWeightTwice(Convolutions):
    def features(self, x: torch.Tensor) -> torch.Tensor:
        return functional.conv_transpose2d(torch.tanh(self.first(x)), self.first.weight).expand(-1, 4, -1, -1)


class Parametrized(Convolutions):
    def __init__(self) -> None:
        super().__init__()
        weight_norm(self.conv)


class Hooked(Convolutions):
    def __init__(self) -> None:
        super().__init__()
        self.norm.register_forward_hook(lambda _module, _inputs, output: 2 * output)


class HookedFirst(Convolutions):
    def __init__(self) -> None:
        super().__init__()
        self.first.register_forward_hook(lambda _module, _inputs, output: torch.relu(output))


KEPT = (OneConvolutionTwoNorms, OneResultTwoNorms, AgainAfterInPlace, FunctionInPlace)
WHOLE = (WeightTwice, FirstWeightTwice, Parametrized, Hooked, HookedFirst)


@pytest.mark.parametrize("engine", ["doll", "captum"])
@pytest.mark.parametrize("build", [*KEPT, *WHOLE, ImageInPlace])
def test_the_gradient_is_autograds_however_a_network_is_written(build, engine: str, caplog) -> None:
    network, image = with_statistics(build().eval()), torch.rand(2, 1, 12, 12)
    before, wanted = image.clone(), torch.zeros(2, TARGETS, dtype=torch.bool)
    wanted[:, 3] = True
    nodes, weights = np.polynomial.legendre.leggauss(5)
    expected = torch.zeros_like(image)
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        x = (float(node) * before).requires_grad_()
        expected += float(weight) * torch.autograd.grad(network(x.clone())[:, 3].sum(), x)[0]
    with caplog.at_level(logging.WARNING, logger="doll_monai"):
        result = path_gradient(network, image, wanted, n_steps=5, engine=engine)
    torch.testing.assert_close(result.gradient[:, 3], expected[:, 0], rtol=1e-3, atol=1e-6)
    change = network(before.clone())[:, 3] - network(torch.zeros_like(before))[:, 3]
    error = ((expected * before).sum((1, 2, 3)) - change).abs() / change.abs().clamp(min=1e-3)
    torch.testing.assert_close(result.completeness_error[:, 3], error.detach(), rtol=1e-2, atol=1e-4)
    assert torch.equal(image, before)
    said = [record.getMessage() for record in caplog.records]
    assert [text.startswith(f"{build.__name__} is explained as a whole") for text in said] == [True] * (
        build in WHOLE and engine == "doll"
    )
