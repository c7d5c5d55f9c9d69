"""The 14 observations of CheXpert (Irvin et al. 2019), in the order of its CSV files.

Every tensor with 14 channels in this package, and every ``channel_def`` in the bundles, follows this order.
"""

from __future__ import annotations

FINDINGS: tuple[str, ...] = (
    "No Finding",
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
)
"""Names of the observations as CheXpert spells them."""

CHANNEL_DEF: dict[str, str] = {str(channel): name for channel, name in enumerate(FINDINGS)}
"""Channel number to name, as ``metadata.json`` wants it."""

FOREGROUND = 1
BACKGROUND = 0
IGNORE = 255
"""Pixel values of a label (``uint8``): foreground, background, and ignored by every loss and metric."""

IGNORED_TARGET = -1.0
"""Image-level target of an observation that no loss or metric may look at; all other targets lie in [0, 1]."""


def finding_index(name: str) -> int:
    """Channel of an observation: its name in any case, spaces, underscores or hyphens; ``KeyError`` for another."""
    wanted = name.replace("_", " ").replace("-", " ").strip().lower()
    for index, finding in enumerate(FINDINGS):
        if finding.lower() == wanted:
            return index
    raise KeyError(f"'{name}' is none of the 14 observations: {', '.join(FINDINGS)}")
