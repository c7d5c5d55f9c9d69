"""Clicks that correct a proposal: a few pixels that certainly belong to a region, or certainly do not.

Each click changes the network's logits in its neighborhood. How far it reaches is measured along the image: a step
across an edge counts for more than one where the image is even (a geodesic distance, after Criminisi et al., "GeoS",
ECCV 2008), so a click inside a lobe that was left out brings back the lobe, not a circle.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import expit, logit
from skimage.graph import MCP_Geometric
from skimage.transform import resize

# chosen on images that no figure is reported on
SIDE = 256  # longer side of the grid in which distances are measured, in pixels
REACH = 0.2  # where a click's influence has fallen to exp(-1/2), as a share of the longer side of a flat image
IMAGE_EDGE = 4.0  # cost of crossing a change of the image from black to white, in units of the reach
STRENGTH = 8.0  # logits at the click itself

Points = Sequence[Sequence[float]]


def correct_proposal(probability: np.ndarray, image: np.ndarray, foreground: Points, background: Points) -> np.ndarray:
    """The probability after clicks.

    Args:
        probability: (H, W) in [0, 1], the proposal.
        image: (h, w), any range and size.
        foreground: clicks (column, row) in pixels of the proposal that belong to the region.
        background: clicks that do not.

    Returns:
        (H, W) ``float32``; above 0.5 at the foreground's clicks, below at the background's.
    """
    height, width = probability.shape
    scale = min(SIDE / max(height, width), 1.0)
    size = (max(round(height * scale), 2), max(round(width * scale), 2))
    gray = resize(np.asarray(image, dtype=np.float32), size, order=1, anti_aliasing=True)
    low, high = np.percentile(gray, (1, 99))
    gray = np.clip((gray - low) / max(high - low, 1e-6), 0, 1)
    cost = 1 / max(size) + REACH * IMAGE_EDGE * np.hypot(*np.gradient(gray))
    change = np.zeros(size)
    for points, sign in ((foreground, 1.0), (background, -1.0)):
        if points:
            distance = MCP_Geometric(cost).find_costs(_cells(points, scale, size))[0]
            change += sign * STRENGTH * np.exp(-0.5 * (distance / REACH) ** 2)
    logits = logit(np.clip(probability, 0.02, 0.98)) + resize(change, (height, width), order=1)
    result = expit(logits).astype(np.float32)
    for points, value in ((foreground, 1.0), (background, 0.0)):
        for cell in _cells(points, 1.0, (height, width)):
            result[cell] = value
    return result


def _cells(points: Points, scale: float, size: tuple[int, int]) -> list[tuple[int, int]]:
    """Rows and columns of clicks; those beside the image count at its margin."""
    cells = np.floor((np.reshape(points, (-1, 2))[:, ::-1] + 0.5) * scale)
    return [(int(row), int(column)) for row, column in np.clip(cells, 0, np.subtract(size, 1))]
