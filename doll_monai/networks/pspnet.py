"""PSPNet (Zhao et al. 2017) on MONAI's two-dimensional ResNets."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from monai.networks.nets import ResNet
from torch import nn

from doll_monai.utils.errors import InputError, explained


class DilatedResNet(nn.Sequential):
    """The convolutional part of a MONAI 2-D ResNet at output stride 8: (B, C, H, W) -> (B, out_channels, H/8, W/8).

    Its ``state_dict`` has the keys of the classifier's without ``fc.*``, so that a classifier's weights load strictly.
    ``resnet`` has ``conv1_t_stride=2`` and is taken over, not copied; any other network is an ``InputError``.
    """

    def __init__(self, resnet: nn.Module) -> None:
        if not isinstance(resnet, ResNet) or not isinstance(resnet.conv1, nn.Conv2d):
            kind = type(resnet).__name__
            raise InputError(f"The backbone of a PSPNet must be a two-dimensional MONAI ResNet, not {kind}.")
        parts = ("conv1", "bn1", "act", "maxpool", "layer1", "layer2", "layer3", "layer4")
        super().__init__(OrderedDict((name, getattr(resnet, name)) for name in parts))
        self.out_channels = int(resnet.in_planes)
        for stage, dilation in ((resnet.layer3, 2), (resnet.layer4, 4)):
            for module in stage.modules():
                if isinstance(module, nn.Conv2d):
                    # what loses its stride keeps the dilation before it (half), as in Yu et al. 2017 and torchvision
                    rate = dilation if module.stride == (1, 1) else dilation // 2
                    module.stride = (1, 1)
                    if module.kernel_size == (3, 3):
                        module.dilation = module.padding = (rate, rate)


def convolution(in_channels: int, out_channels: int, kernel_size: int, norm: bool = True) -> nn.Sequential:
    convolution = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=not norm)
    norms = [nn.BatchNorm2d(out_channels)] if norm else []
    return nn.Sequential(convolution, *norms, nn.ReLU(inplace=True))


class PyramidPooling(nn.Module):
    """Means over 1 x 1, 2 x 2, 3 x 3 and 6 x 6 regions, each reduced and put beside the features.

    Shape: (B, C, h, w) -> (B, out_channels, h, w). The branch of one region has no batch normalization, so that a batch
    of one trains.
    """

    def __init__(self, in_channels: int, bins: Sequence[int] = (1, 2, 3, 6)) -> None:
        super().__init__()
        width = in_channels // len(bins)
        self.branches = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(size), convolution(in_channels, width, 1, norm=size > 1))
            for size in bins
        )
        self.out_channels = in_channels + width * len(bins)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = [x]
        for branch in self.branches:
            parts.append(F.interpolate(branch(x), size=x.shape[-2:], mode="bilinear", align_corners=False))
        return torch.cat(parts, dim=1)


class PSPNet(nn.Module):
    """Pyramid scene parsing network: (B, 1, H, W) -> logits (B, T, H, W), at the input's full resolution.

    ``backbone`` (stride 8), ``pyramid`` and ``decoder`` are what pre-training on labels learns for a later task;
    ``head``, the last 1 x 1 convolution, is the only part that belongs to the classes.

    Args:
        backbone: a MONAI 2-D ResNet classifier; everything but its last layer is used.
        out_channels: number of (overlapping) classes T.
        decoder_channels: width between pyramid and head, where there is ``dropout``.
    """

    @explained
    def __init__(
        self, backbone: nn.Module, out_channels: int, decoder_channels: int = 128, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.backbone = DilatedResNet(backbone)
        self.pyramid = PyramidPooling(self.backbone.out_channels)
        self.decoder = convolution(self.pyramid.out_channels, decoder_channels, 3)
        self.dropout = nn.Dropout2d(dropout)
        self.head = nn.Conv2d(decoder_channels, out_channels, kernel_size=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits = self.head(self.dropout(self.decoder(self.pyramid(self.backbone(x)))))
        return F.interpolate(logits, size=x.shape[-2:], mode="bilinear", align_corners=False)
