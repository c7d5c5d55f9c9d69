"""The labels of a run: pairs of an image and an observation, with what is known of each label's quality."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from doll_monai.data.ground_truth import GroundTruth
from doll_monai.data.image_files import stem
from doll_monai.data.label_maps import image_hash
from doll_monai.findings import FOREGROUND, finding_index
from doll_monai.metrics.localization import iou
from doll_monai.utils.errors import InputError
from doll_tools.report.drawing import read_map_sheet
from doll_tools.report.run_folder import RunFolder, finite

TABLE = "labels/labels.csv"
COLUMNS = ("image", "observation", "probability", "completeness_error", "foreground_share")
FIGURES = ("probability", "completeness_error", "agreement", "foreground_share")


@dataclass
class Pair:
    """A positive observation of an image whose label has a foreground, with its row of the table of labels.

    ``iou``: of the label's foreground with the ground truth; None where there is none.
    """

    observation: str
    probability: float | None
    completeness_error: float | None
    agreement: float | None
    foreground_share: float | None
    iou: float | None = None

    @property
    def channel(self) -> int:
        """The observation's channel."""
        return finding_index(self.observation)


@dataclass
class LabeledImage:
    """An image and its pairs, in the order of the observations."""

    image: str
    section: str
    pairs: list[Pair] = field(default_factory=list)


class Labels:
    """The labels of a run and the ground truth beside its images, ``truth.csv`` or ``boxes.csv`` if there is one."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.members = [str(name) for name in folder.pipeline.get("members") or []]
        found = (folder.chexpert / name for name in ("truth.csv", "boxes.csv"))
        self.ground_truth = GroundTruth(next((path for path in found if path.is_file()), None), folder.chexpert)

    def images(self) -> list[LabeledImage]:
        """All images with a label that has a foreground: those with ground truth first, then those with members' maps,
        each in the order of the hashes of their names."""
        table = self.folder.table(TABLE, COLUMNS)
        if table is None:
            return []
        records = self.folder.records("labels/dataset.json")
        images: dict[str, LabeledImage] = {}
        for row in table[table["foreground_share"] > 0].to_dict("records"):
            name = str(row["image"])
            image = images.setdefault(name, LabeledImage(name, records.get(name, {}).get("section", "")))
            image.pairs.append(Pair(str(row["observation"]), **{name: finite(row.get(name)) for name in FIGURES}))

        def place(image: LabeledImage) -> tuple[bool, bool, str]:
            return not self.known(image.image), not self._maps(image.image).is_file(), image_hash(image.image)

        return sorted(images.values(), key=place)

    def known(self, image: str) -> set[int]:
        """Observations with ground truth in an image."""
        return self.ground_truth.channels(self.folder.chexpert / image)

    def truth_masks(self, image: str, shape: tuple[int, ...]) -> dict[int, np.ndarray]:
        """Channel to ground truth, (H, W) bool; none where a mask's file cannot be read."""
        try:
            masks = self.ground_truth.masks(self.folder.chexpert / image, (shape[1], shape[0]))
        except InputError:
            return {}
        return {channel: np.asarray(mask).T for channel, mask in masks.items()}

    def score(self, image: LabeledImage, label: np.ndarray) -> dict[int, np.ndarray]:
        """Set the ``iou`` of each pair with ground truth by the image's label, (14, H, W); its ``truth_masks``."""
        known = self.truth_masks(image.image, label.shape[1:])
        for pair in image.pairs:
            if pair.channel in known:
                pair.iou = round(iou(label[pair.channel] == FOREGROUND, known[pair.channel]), 3)
        return known

    def label(self, image: str) -> Path:
        """An image's label file."""
        return self.folder.root / "labels" / "labels" / f"{stem(image)}.nii.gz"

    def maps(self, image: str) -> tuple[bytes, dict[str, np.ndarray]]:
        """The picture of the maps of an image, and observation to maps (K, h, w), the members' mean first.

        Nothing where the run did not keep them, or the file is damaged.
        """
        path = self._maps(image)
        try:
            maps = read_map_sheet(path, 1 + len(self.members))
        except InputError:
            return b"", {}
        return path.read_bytes(), maps

    def _maps(self, image: str) -> Path:
        return self.folder.root / "labels" / "maps" / f"{stem(image)}.png"
