"""Randomized networks have forgotten everything, statistics included, and are the same for the same seed."""

from __future__ import annotations

import pytest
import torch
from monai.networks.nets import DenseNet, EfficientNetBN, ResNet
from torch import nn

from doll_monai.networks.randomize import randomize


class Token(nn.Module):
    """A parameter of its own, as transformers have, in a module without ``reset_parameters``."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.full((1000,), 3.0))


def _networks() -> list[nn.Module]:
    resnet = ResNet("basic", [1, 1, 1, 1], [4, 4, 8, 8], spatial_dims=2, n_input_channels=1, num_classes=14)
    densenet = DenseNet(2, 1, 14, init_features=8, growth_rate=4, block_config=(2, 2))
    efficientnet = EfficientNetBN("efficientnet-b0", pretrained=False, spatial_dims=2, in_channels=1, num_classes=14)
    return [resnet, densenet, efficientnet]


@pytest.mark.parametrize("number", range(3))
def test_nothing_of_a_trained_network_is_left(number: int) -> None:
    network = _networks()[number]
    with torch.no_grad():
        for value in network.state_dict().values():
            value.copy_(torch.full_like(value, 7))
    randomize(network, seed=0)
    for name, value in network.state_dict().items():
        assert not bool((value == 7).any()), name
        if name.endswith(("running_mean", "num_batches_tracked")):
            assert not bool(value.any())
        elif name.endswith("running_var"):
            assert bool((value == 1).all())


def test_the_seed_alone_decides_and_the_callers_random_state_stays() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, second, third = (randomize(nn.Linear(4, 4), seed).weight for seed in (1, 1, 2))
    torch.manual_seed(5)
    randomize(nn.Linear(4, 4), 9)
    torch.manual_seed(5)
    randomize(nn.Identity(), 9)
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(first, second)
    assert not torch.equal(first, third)


def test_layers_of_one_shape_get_different_weights() -> None:
    network = randomize(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), 0)
    assert not torch.equal(network[0].weight, network[1].weight)


def test_a_parameter_that_cannot_be_reset_becomes_noise_of_its_size() -> None:
    token = randomize(Token(), 0).token.detach()
    assert float(token.std()) == pytest.approx(3.0, rel=0.1)
    assert abs(float(token.mean())) < 0.4


def test_statistics_that_cannot_be_reset_are_refused() -> None:
    module = nn.Identity()
    module.register_buffer("running_mean", torch.ones(3))
    with pytest.raises(ValueError, match="cannot be reset"):
        randomize(nn.Sequential(module), 0)
