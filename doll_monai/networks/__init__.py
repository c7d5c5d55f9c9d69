"""Networks that the bundles declare and MONAI does not have."""

from doll_monai.networks.adapters import AdaptedNetwork
from doll_monai.networks.committee import Committee
from doll_monai.networks.efficientnet_lite import EfficientNetLite, FeaturePyramid, LiteBackbone, PyramidClassifier
from doll_monai.networks.pspnet import PSPNet

__all__ = [
    "AdaptedNetwork",
    "Committee",
    "EfficientNetLite",
    "FeaturePyramid",
    "LiteBackbone",
    "PSPNet",
    "PyramidClassifier",
]
