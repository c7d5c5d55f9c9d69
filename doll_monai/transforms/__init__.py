"""Dictionary transforms: reading films and labels, image-level targets, and the steps from attribution to label."""

from .attribution import (
    AttributionMagnituded,
    AttributionToLabeld,
    MultiplyByInputd,
    NormaliseAttributiond,
)
from .films import LoadFilmd, LoadLabeld
from .observations import ObservationTargetsd, ZeroIgnoredd, check_observations
from .superpixels import SuperpixelAveraged

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
