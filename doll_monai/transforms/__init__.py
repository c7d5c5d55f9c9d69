"""Dictionary transforms: reading films and labels, image-level targets, and the steps from attribution to label."""

from doll_monai.transforms.attribution import (
    AttributionMagnituded,
    AttributionToLabeld,
    MultiplyByInputd,
    NormaliseAttributiond,
)
from doll_monai.transforms.observations import ObservationTargetsd, ZeroIgnoredd, check_observations
from doll_monai.transforms.reading import LoadFilmd, LoadLabeld
from doll_monai.transforms.superpixels import SuperpixelAveraged

__all__ = [
    "AttributionMagnituded",
    "AttributionToLabeld",
    "LoadFilmd",
    "LoadLabeld",
    "MultiplyByInputd",
    "NormaliseAttributiond",
    "ObservationTargetsd",
    "SuperpixelAveraged",
    "ZeroIgnoredd",
    "check_observations",
]
