"""Where in the body a finding can lie: attributions are kept there and weakened elsewhere."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from scipy import ndimage

from doll_monai.findings import finding_index
from doll_monai.transforms.keywise import KeywiseTransform
from doll_monai.utils.errors import InputError, explained

PROPERTIES = {"organs", "dilation", "rows", "rim"}


class RestrictToRegiond(KeywiseTransform):
    """Multiply each finding's attribution by 1 in its region of the body and by ``floor`` elsewhere.

    A finding that is not in the table, and one none of whose organs is in the image, keeps its attribution.

    Args:
        keys: attributions, (T, W, H).
        regions: finding to its region: ``organs``, the union of which it is; ``dilation``, by which each is grown, as
            a share of the image's width; ``rows``, a part of the height of each organ, such as [0, 0.5] for its upper
            half; ``rim``, how far inside an organ's edge, as a share of the width, the region ends.
        organs: classes of the masks ``organs``, (C, W, H), in the order of their channels.
        floor: from 0 to 1; 1 restricts nothing.

    Raises:
        InputError: for a region without organs, an unknown organ or property, or a floor out of range; ``KeyError``:
            unknown finding.
    """

    @explained
    def __init__(
        self, keys: KeysCollection, regions: Mapping[str, Mapping[str, Any]], organs: Sequence[str], floor: float = 0.1
    ) -> None:
        super().__init__(keys)
        if not 0 <= floor <= 1:
            raise InputError(f"The floor outside a finding's region must lie in [0, 1], not {floor}.")
        self.regions: dict[int, tuple[list[int], dict[str, Any]]] = {}
        self.floor = floor
        for finding, region in regions.items():
            if unknown := sorted(set(region) - PROPERTIES):
                raise InputError(f"The region of {finding} has {unknown[0]}; it may have {', '.join(PROPERTIES)}.")
            if not region.get("organs") or not set(region["organs"]) <= set(organs):
                raise InputError(f"The region of {finding} needs organs among {', '.join(organs)}.")
            options = dict(region)
            numbers = [list(organs).index(organ) for organ in options.pop("organs")]
            self.regions[finding_index(finding)] = numbers, options

    def convert(self, value: torch.Tensor, data: Mapping[Hashable, Any]) -> torch.Tensor:
        masks = torch.as_tensor(data["organs"]).cpu().numpy() > 0
        weights = torch.ones(value.shape)
        for channel, (numbers, options) in self.regions.items():
            if value[channel].any():
                place = np.any([region_of(masks[number], **options) for number in numbers], axis=0)
                if place.any():
                    weights[channel] = torch.from_numpy(np.where(place, 1.0, self.floor))
        return value * weights.to(value.device)


def region_of(
    mask: np.ndarray, dilation: float = 0.0, rows: Sequence[float] = (0.0, 1.0), rim: float | None = None
) -> np.ndarray:
    """A part of an organ, (W, H) bool, that is empty where the organ is; see ``RestrictToRegiond``."""
    heights = np.flatnonzero(mask.any(axis=0))
    if not len(heights):
        return mask
    width = mask.shape[0]
    place = ndimage.distance_transform_edt(~mask) <= dilation * width
    if rim is not None:
        place &= ndimage.distance_transform_edt(mask) <= rim * width
    top, height = heights[0] - dilation * width, np.ptp(heights) + 2 * dilation * width
    row = (np.arange(mask.shape[1]) - top) / max(height, 1)
    return np.asarray(place & (row >= rows[0]) & (row <= rows[1]))
