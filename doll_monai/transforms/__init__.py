"""Dictionary transforms: reading images and labels, image-level targets, and the steps from attribution to label."""

from doll_monai.transforms.attribution import (
    AttributionMagnituded,
    AttributionToLabeld,
    MultiplyByInputd,
    NormalizeAttributiond,
)
from doll_monai.transforms.observations import ObservationTargetsd, ZeroIgnoredd, check_observations
from doll_monai.transforms.reading import LoadLabeld, LoadRadiographd
from doll_monai.transforms.superpixels import SuperpixelAveraged

__all__ = [
    "AttributionMagnituded",
    "AttributionToLabeld",
    "LoadLabeld",
    "LoadRadiographd",
    "MultiplyByInputd",
    "NormalizeAttributiond",
    "ObservationTargetsd",
    "SuperpixelAveraged",
    "ZeroIgnoredd",
    "check_observations",
]
