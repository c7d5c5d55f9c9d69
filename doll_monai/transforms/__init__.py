"""Dictionary transforms: reading images and labels, image-level targets, and the steps from attribution to label."""

from doll_monai.transforms.attribution import (
    AttributionMagnituded,
    AttributionToLabeld,
    MultiplyByInputd,
    NormalizeAttributiond,
)
from doll_monai.transforms.inverse import InvertPredictiond
from doll_monai.transforms.observations import ObservationTargetsd, ZeroIgnoredd
from doll_monai.transforms.reading import ClipBorderd, LoadLabeld, LoadRadiographd, ToGrayd
from doll_monai.transforms.regions import RestrictToRegiond
from doll_monai.transforms.superpixels import SuperpixelAveraged

__all__ = [
    "AttributionMagnituded",
    "AttributionToLabeld",
    "ClipBorderd",
    "InvertPredictiond",
    "LoadLabeld",
    "LoadRadiographd",
    "MultiplyByInputd",
    "NormalizeAttributiond",
    "ObservationTargetsd",
    "RestrictToRegiond",
    "SuperpixelAveraged",
    "ToGrayd",
    "ZeroIgnoredd",
]
