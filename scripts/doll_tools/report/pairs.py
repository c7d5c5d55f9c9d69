"""The pairs of an image and an observation that have a label, with what is known of each label's quality."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from doll_monai.data.ground_truth import GroundTruth
from doll_monai.data.label_maps import image_hash
from doll_monai.findings import FOREGROUND, finding_index
from doll_monai.metrics.maps import overlap
from doll_monai.utils.errors import InputError
from doll_tools.report.run_folder import RunFolder, finite

TABLE = "labels/labels.csv"
COLUMNS = ("image", "observation", "probability", "completeness_error", "foreground_share")
FIGURES = ("probability", "completeness_error", "agreement", "foreground_share")


@dataclass
class Pair:
    """A positive observation of an image whose label has a foreground.

    Attributes:
        probability: the committee's.
        completeness_error: the members' mean; None where the source of the explanation has none.
        agreement: mean rank correlation of every two members' maps; None for a lone member or an earlier table.
        foreground_share: of the image's pixels.
        iou: of the label's foreground with the known place; None where none is known.
    """

    observation: str
    probability: float | None
    completeness_error: float | None
    agreement: float | None
    foreground_share: float | None
    iou: float | None = None


@dataclass
class LabeledImage:
    """An image and its pairs, in the order of the observations."""

    image: str
    section: str
    pairs: list[Pair] = field(default_factory=list)


def labeled_images(folder: RunFolder) -> list[LabeledImage]:
    """All images with a label that has a foreground; ``[]`` where there is no table of labels."""
    table = folder.table(TABLE, COLUMNS)
    if table is None:
        return []
    sections = {
        record["image"]: section
        for section, records in folder.datalist("labels/dataset.json").items()
        for record in (records if section in ("training", "validation", "test") else ())
    }
    images: dict[str, LabeledImage] = {}
    for row in table[table["foreground_share"] > 0].to_dict("records"):
        image = str(row["image"])
        radiograph = images.setdefault(image, LabeledImage(image, sections.get(image, "")))
        figures = {name: finite(row.get(name)) for name in FIGURES}
        radiograph.pairs.append(Pair(str(row["observation"]), **figures))
    return list(images.values())


def shown_first(images: list[LabeledImage], truth: GroundTruth, folder: RunFolder) -> list[LabeledImage]:
    """Images with a known place first, then those whose members' maps are there, each in the order of their hash."""

    def place(image: LabeledImage) -> tuple[bool, bool, str]:
        known = folder.chexpert / image.image in truth
        return not known, not map_path(folder, image.image).is_file(), image_hash(image.image)

    return sorted(images, key=place)


def truth_of(chexpert: Path) -> GroundTruth:
    """The known places beside the images: ``truth.csv`` or ``boxes.csv``; one that knows nothing without them."""
    found = (chexpert / name for name in ("truth.csv", "boxes.csv"))
    return GroundTruth(next((path for path in found if path.is_file()), None), chexpert)


def places(truth: GroundTruth, image: Path, size: tuple[int, ...]) -> dict[int, np.ndarray]:
    """The places known in an image, channel to mask, (W, H) bool; none where the mask's file cannot be read."""
    try:
        return {channel: np.asarray(mask) for channel, mask in truth.masks(image, size).items()}
    except InputError:
        return {}


def score(image: LabeledImage, label: np.ndarray, known: dict[int, np.ndarray]) -> None:
    """Set each pair's ``iou``.

    Args:
        image: whose pairs are scored.
        label: (14, W, H) ``uint8``.
        known: channel to mask, (W, H) bool.
    """
    for pair in image.pairs:
        channel = finding_index(pair.observation)
        if channel in known:
            pair.iou = round(overlap(label[channel] == FOREGROUND, known[channel]), 3)


def label_path(folder: RunFolder, image: str) -> Path:
    """An image's label file."""
    return folder.root / "labels" / "labels" / f"{Path(image).with_suffix('').as_posix()}.nii.gz"


def map_path(folder: RunFolder, image: str) -> Path:
    """The picture of the members' maps of an image, which is there for some images alone."""
    return folder.root / "labels" / "maps" / f"{Path(image).with_suffix('').as_posix()}.png"
