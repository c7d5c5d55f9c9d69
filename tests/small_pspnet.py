"""A small PSPNet that has seen something: its statistics and affine maps are not those of a new network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from monai.networks.nets import ResNet
from torch import nn

from doll_monai.networks.pspnet import PSPNet
from doll_monai.networks.weights import save_weights


def small_resnet(width: int = 8) -> ResNet:
    """A classifier of 14 observations with one block a stage."""
    widths = [width, width, 2 * width, 2 * width]
    options = {"spatial_dims": 2, "n_input_channels": 1, "conv1_t_stride": 2, "bias_downsample": False}
    return ResNet("basic", [1, 1, 1, 1], widths, num_classes=14, **options)


def small_pspnet(out_channels: int = 1, width: int = 8) -> PSPNet:
    return PSPNet(small_resnet(width), out_channels, decoder_channels=16, dropout=0.5)


def train(network: nn.Module, steps: int = 4) -> None:
    """A few steps, each behind a ``train()`` as engines call it."""
    optimizer = torch.optim.AdamW([parameter for parameter in network.parameters() if parameter.requires_grad], lr=0.01)
    for _ in range(steps):
        network.train()
        optimizer.zero_grad()
        logits = network(torch.rand(2, 1, 48, 48))
        (logits - 1).square().mean().backward()
        optimizer.step()


@pytest.fixture(scope="session")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoint of a network with 14 classes after a few steps of training."""
    torch.manual_seed(0)
    network = small_pspnet(14)
    train(network)
    path = tmp_path_factory.mktemp("pretrained") / "model.pt"
    save_weights(network.state_dict(), path)
    return path
