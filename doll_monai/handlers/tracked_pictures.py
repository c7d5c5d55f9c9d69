"""Pictures of predictions for MLflow."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from skimage.util import montage

from doll_monai.visualize.pictures import compared

EACH = 16
"""Of this many validations, and of as many after them, each is pictured."""


def is_pictured(number: int) -> bool:
    """Whether the validation of this number, from 0 on, is among those that are shown with a slider."""
    stride = 1 << max(0, (number // EACH).bit_length() - 1)
    return number % stride == 0


def picture_of(image: torch.Tensor, label: torch.Tensor | None, prediction: torch.Tensor) -> np.ndarray:
    """Args: image (1, W, H) 0 to 1, label and prediction (T, W, H). Returns: (H, W, 3) ``uint8``."""
    gray = (np.asarray(image.cpu())[0].T.clip(0, 1) * 255).astype(np.uint8)
    truth = None if label is None or label.ndim != 3 else np.asarray(label.cpu())
    return compared(np.stack([gray] * 3, -1), truth, np.asarray(prediction.cpu()))


def together(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures of one size, (H, W, 3) each, in as many rows as columns: MLflow shows 256 pixels at first."""
    sheet: np.ndarray = montage(np.stack(pictures), channel_axis=-1, fill=(0, 0, 0))
    return sheet
