"""Path-averaged gradients averaged over the superpixels of their image (arXiv:2412.14509)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from scipy import ndimage
from skimage.segmentation import slic

from doll_monai.utils.errors import InputError, explained


class SuperpixelAveraged(MapTransform):
    """Replace each gradient by its mean over the superpixel that it lies in.

    The gradient of a network is noisy from pixel to pixel; averaged over regions of like gray *before* it is multiplied
    by (input - baseline), it differs less between networks that were trained independently (arXiv:2412.14509). The
    superpixels are SLIC's (Achanta et al. 2012), found once an image and shared by all keys.

    Args:
        keys: gradients, (T, W, H); a channel of zeros, which was not explained, is left alone.
        n_segments: number of superpixels that SLIC aims at, at least 1.
        compactness: weight of nearness against likeness of gray, above 0; large gives squares. SLIC sees the gray
            values stretched to 0 ... 1.

    Raises:
        InputError: for a number or a compactness out of range.
    """

    @explained
    def __init__(
        self, keys: KeysCollection, image_key: str = "image", n_segments: int = 500, compactness: float = 0.1
    ) -> None:
        super().__init__(keys)
        if n_segments < 1:
            raise InputError(f"The number of superpixels must be at least 1, or 0 for none at all, not {n_segments}.")
        if compactness <= 0:
            raise InputError(f"The compactness of superpixels must be above 0, not {compactness}.")
        self.image_key = image_key
        self.options = {"n_segments": n_segments, "compactness": compactness}

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        segments = self.segments(result[self.image_key])
        for key in self.key_iterator(result):
            gradient = result[key] = torch.as_tensor(result[key]).clone()
            for channel in gradient.flatten(1).any(dim=1).nonzero().flatten().tolist():
                means = ndimage.mean(gradient[channel].cpu().numpy(), segments, np.arange(segments.max() + 1))
                gradient[channel] = torch.as_tensor(means[segments])
        return result

    def segments(self, image: Any) -> np.ndarray:
        """Number of the superpixel of each pixel of an image (1, W, H): (W, H) integers from 0."""
        gray = torch.as_tensor(image)[0].cpu().numpy().astype(np.float32)
        return np.asarray(slic(gray, channel_axis=None, start_label=0, **self.options))
