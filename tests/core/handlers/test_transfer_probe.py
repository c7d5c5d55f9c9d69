"""The probe: deterministic, leaves the network alone, and tells good features from bad ones."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from monai.data import Dataset
from torch import nn

from doll_monai.handlers.transfer_probe import TransferProbe, fit_linear_probe
from doll_monai.utils.errors import InputError


class Features(nn.Module):
    """Two features at half the size: how much a pixel is of the object, and noise; ``signal`` mixes the first in."""

    def __init__(self, signal: float) -> None:
        super().__init__()
        self.signal = nn.Parameter(torch.tensor(signal))
        self.norm = nn.BatchNorm2d(2)
        self.dropout = nn.Dropout2d(0.5)
        self.head = nn.Conv2d(2, 14, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.avg_pool2d(x, 2)
        noise = torch.sin(1e4 * x)
        logits = self.head(self.dropout(self.norm(torch.cat([self.signal * x + noise, noise], dim=1))))
        return F.interpolate(logits, scale_factor=2.0)


def _images(count: int, seed: int) -> Dataset:
    """Images whose object, a square, is brighter than the rest; the last image has none."""
    generator = torch.Generator().manual_seed(seed)
    images = []
    for number in range(count):
        label = torch.zeros(1, 16, 16)
        row, column = (2 * torch.randint(0, 4, (2,), generator=generator)).tolist()
        label[:, row : row + 8, column : column + 8] = number < count - 1
        images.append({"image": 0.2 * torch.rand(1, 16, 16, generator=generator) + label, "label": label})
    return Dataset(images)


def _probe(network: nn.Module) -> TransferProbe:
    return TransferProbe(network, _images(5, 0), _images(10, 1))


def test_good_features_score_high_and_noise_low() -> None:
    assert _probe(Features(5.0)).score() > 0.95
    assert _probe(Features(0.0)).score() < 0.3


def test_the_score_is_the_same_again_and_the_network_is_left_alone() -> None:
    network = Features(1.0).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    random = torch.get_rng_state()
    probe = _probe(network)
    assert probe.score() == probe.score()
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert torch.equal(torch.get_rng_state(), random)


@pytest.mark.parametrize(("gray", "expected"), [(0.0, 1.0), (1.0, 0.0)])
def test_an_image_without_foreground_counts_one_if_nothing_is_predicted(gray: float, expected: float) -> None:
    image = Dataset([{"image": torch.full((1, 16, 16), gray), "label": torch.zeros(1, 16, 16)}])
    assert TransferProbe(Features(5.0), _images(5, 0), image).score() == expected


def test_probe_is_logistic_regression() -> None:
    """At the minimum the gradient of the penalized loss vanishes, whatever the features' scale."""
    features = torch.randn(400, 3) * torch.tensor([0.01, 1.0, 100.0]) + torch.tensor([5.0, 0.0, -3.0])
    target = torch.rand(400, 2)
    target[:, 0] = (features[:, 2] > -10).float()
    weight, bias = fit_linear_probe(features, target, penalty=0.01)
    standard = weight * features.std(0)
    error = torch.sigmoid(features @ weight.T + bias) - target
    x = (features - features.mean(0)) / features.std(0)
    gradient = error.T @ x / target.numel() + 2 * 0.01 * standard
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), atol=1e-4, rtol=0)
    torch.testing.assert_close(error.mean(0), torch.zeros(2), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("network", "validation", "words"),
    [(Features(1.0), Dataset([]), "'training' and 'validation'"), (nn.Linear(2, 2), _images(2, 0), "no 2-D conv")],
)
def test_a_probe_without_images_or_convolution_is_refused(network: nn.Module, validation: Dataset, words: str) -> None:
    with pytest.raises(InputError, match=words):
        TransferProbe(network, _images(2, 0), validation)
