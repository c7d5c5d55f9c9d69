"""Labels beside the truth: all pairs of image and observation that have both, and which of them are shown."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from doll_monai.data.ground_truth import GroundTruth
from doll_monai.findings import FINDINGS, FOREGROUND, finding_index
from doll_monai.utils.errors import InputError
from doll_monai.visualize.pictures import read_mask
from doll_tools.figures.drawing import iou
from doll_tools.report.run_folder import RunFolder

TRUTHS = ("truth.csv", "boxes.csv")
"""Tables of known places in a folder of images: masks, else boxes."""


@dataclass(frozen=True)
class Pair:
    """An image and an observation with a label and a truth, and their IoU: of the label its foreground alone counts."""

    image: str
    observation: str
    iou: float


def truth_of(run: RunFolder) -> GroundTruth:
    """The known places in a run's images.

    Raises:
        InputError: when no place is known.
    """
    for name in TRUTHS:
        if (run.chexpert / name).is_file():
            return GroundTruth(run.chexpert / name, run.chexpert)
    raise InputError(f"{run.chexpert} has none of {', '.join(TRUTHS)}; without known places nothing can be compared.")


def label_of(run: RunFolder, image: str) -> np.ndarray:
    """The label of an image, (14, H, W) ``uint8``.

    Raises:
        InputError: when it cannot be read.
    """
    path = run.root / "labels" / "labels" / f"{Path(image).with_suffix('').as_posix()}.nii.gz"
    label = read_mask(path)
    if label is None:
        raise InputError(f"The label {path} cannot be read; run the pipeline again.")
    return label


def truth_mask(truth: GroundTruth, image: Path, channel: int, shape: tuple[int, int]) -> np.ndarray | None:
    """The known place of one observation, (H, W) bool; None where it is not known."""
    mask = truth.masks(image, (shape[1], shape[0])).get(channel)
    return None if mask is None else mask.numpy().T


def label_pairs(run: RunFolder, section: str) -> list[Pair]:
    """All pairs of a section of the labeled images that have a truth.

    Args:
        run: the run.
        section: ``training`` or ``validation``, of the labels' ``dataset.json``.

    Raises:
        InputError: when there is none.
    """
    table = run.table("labels/labels.csv", ("image", "observation", "foreground_share"))
    records = run.datalist("labels/dataset.json").get(section) or []
    truth, pairs = truth_of(run), []
    if table is not None:
        table = table[table["image"].isin([record["image"] for record in records]) & (table["foreground_share"] > 0)]
        for image, rows in table.groupby("image"):
            radiograph = run.chexpert / str(image)
            if radiograph not in truth:
                continue
            label = label_of(run, str(image)) == FOREGROUND
            places = truth.masks(radiograph, (label.shape[2], label.shape[1]))
            for name in rows["observation"].astype(str):
                channel = finding_index(name)
                if channel in places:
                    pairs.append(Pair(str(image), name, iou(label[channel], places[channel].numpy().T)))
    if not pairs:
        raise InputError(
            f"No {section} radiograph of {run.root} has both a label and a known place; give another --section."
        )
    return pairs


def median_pairs(pairs: list[Pair], count: int) -> list[Pair]:
    """The pair with the median IoU of each observation, of an even number the lower; equal IoUs in order of names.

    Args:
        pairs: all.
        count: observations shown, those with the most pairs (equal ones in CheXpert's order); each has an image of its
            own: one that is taken already gives way to the next lower IoU.

    Returns:
        the pairs in CheXpert's order of observations.
    """
    by_name = {name: [pair for pair in pairs if pair.observation == name] for name in FINDINGS}
    most = sorted((name for name in FINDINGS if by_name[name]), key=lambda name: -len(by_name[name]))[:count]
    chosen: list[Pair] = []
    for name in sorted(most, key=finding_index):
        order = sorted(by_name[name], key=lambda pair: (pair.iou, pair.image))
        half = order[(len(order) - 1) // 2 :: -1]
        used = {pair.image for pair in chosen}
        chosen.append(next((pair for pair in half if pair.image not in used), half[0]))
    return chosen
