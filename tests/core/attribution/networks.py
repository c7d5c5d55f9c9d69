"""Small networks whose gradients the tests take."""

from __future__ import annotations

import torch
from monai.networks.nets import DenseNet, EfficientNetBN
from torch import nn

from small_pspnet import small_resnet

TARGETS = 14


def resnet() -> nn.Module:
    return small_resnet().eval()


def densenet() -> nn.Module:
    return DenseNet(2, 1, TARGETS, init_features=8, growth_rate=4, block_config=(2, 2), bn_size=2).eval()


def efficientnet() -> nn.Module:
    return EfficientNetBN("efficientnet-b0", pretrained=False, in_channels=1, num_classes=TARGETS).eval()


def with_statistics(network: nn.Module) -> nn.Module:
    """As after training: normalizations with statistics, and with scales of either sign and near zero."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 0.3)
            nn.init.normal_(module.bias, std=0.3)
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            with torch.no_grad():
                module.weight[0] = 0.0
    return network
