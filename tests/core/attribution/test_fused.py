"""ReLU on bits: the same outputs and gradients as the network it was made of."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import fx, nn

from doll_monai.attribution.fused import BitReLU, fuse_relu

from .networks import densenet, resnet, with_statistics


class Residual(nn.Module):
    """Adds what a ReLU gave to what came from elsewhere, so that both hold the same gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = (nn.Conv2d(4, 4, 3, padding=1) for _ in range(3))
        self.act = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        here, there = self.act(self.first(x)), self.act(self.second(x))
        both = here + there
        return self.act(self.third(both)) + both * here


def norm_relu_conv() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(4, 6, 3), nn.MaxPool2d(2), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 5, 3, padding=1), nn.ReLU()
    )


def pooled() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(4, 6, 3), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1), nn.Conv2d(6, 5, 1), nn.Tanh(), nn.Conv2d(5, 3, 1)
    )


def fused(network: nn.Module) -> fx.GraphModule:
    traced = fx.symbolic_trace(copy.deepcopy(network))
    for parameter in traced.parameters():
        parameter.requires_grad_(False)
    fuse_relu(traced)
    return traced


def bit_relus(traced: nn.Module) -> list[BitReLU]:
    return [module for module in traced.modules() if isinstance(module, BitReLU)]


def same(traced: nn.Module, network: nn.Module, image: torch.Tensor, **tolerance: float) -> None:
    """Outputs, and the gradients of three targets that share a forward pass."""
    x, y = image.clone().requires_grad_(), image.clone().requires_grad_()
    ours, expected = traced(x), network(y)
    torch.testing.assert_close(ours, expected, **tolerance)
    for number in range(3):
        (a,) = torch.autograd.grad(ours[:, number].square().sum(), x, retain_graph=True)
        (b,) = torch.autograd.grad(expected[:, number].square().sum(), y, retain_graph=True)
        torch.testing.assert_close(a, b, **tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("build", "count"), [(Residual, 0), (norm_relu_conv, 1), (pooled, 1)])
def test_outputs_and_gradients_are_the_same(build, count: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    network = with_statistics(build()).eval().to(dtype)
    traced = fused(network)
    assert len(bit_relus(traced)) == count
    same(traced, network, torch.randn(2, 4, 12, 12, dtype=dtype))


def test_a_relu_that_feeds_a_convolution_and_a_sum() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
            self.act = nn.ReLU()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            here = self.act(self.first(x))
            return here + self.act(self.second(here) + here)

    torch.manual_seed(1)
    network = Block().eval()
    traced = fused(network)
    assert len(bit_relus(traced)) == 1
    same(traced, network, torch.randn(2, 4, 8, 8))


@pytest.mark.parametrize("scales", ["positive", "of either sign", "zero among them", "tiny among them"])
def test_the_scale_of_a_normalization_goes_into_the_convolution(scales: str) -> None:
    torch.manual_seed(2)
    network = with_statistics(norm_relu_conv()).eval()
    with torch.no_grad():
        network[2].weight.copy_(torch.rand(6) + 0.1)
        network[2].weight[::2] *= {"of either sign": -1, "zero among them": 0, "tiny among them": 1e-9}.get(scales, 1)
    traced = fused(network)
    (relu,) = bit_relus(traced)
    assert relu.shift is not None
    assert (relu.slope is None) == (scales == "positive")
    same(traced, network, torch.randn(2, 4, 12, 12))


def test_a_normalization_that_others_use_too_is_not_folded() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.act, self.conv = nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.norm(x)
            return self.conv(self.act(y)) + y

    network = with_statistics(Block()).eval()
    traced = fused(network)
    assert [relu.shift for relu in bit_relus(traced)] == [None]
    same(traced, network, torch.randn(2, 4, 8, 8))


@pytest.mark.parametrize("build", [resnet, densenet])
def test_in_bfloat16_it_is_as_close_to_float32_as_the_network(build) -> None:
    torch.manual_seed(4)
    network, image = with_statistics(build()).eval(), torch.rand(2, 1, 64, 64)
    traced = fused(network)
    assert bit_relus(traced)

    def gradient(f: nn.Module, enabled: bool) -> torch.Tensor:
        x = image.clone().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            y = f(x)
        return torch.autograd.grad(y[:, 2].float().sum(), x)[0]

    exact = gradient(network, False)
    torch.testing.assert_close(gradient(traced, False), exact, rtol=1e-3, atol=1e-5 * float(exact.abs().max()) + 1e-8)
    error = (gradient(traced, True) - exact).norm() / exact.norm()
    usual = (gradient(network, True) - exact).norm() / exact.norm()
    assert float(error) < 1.5 * float(usual) + 0.01
