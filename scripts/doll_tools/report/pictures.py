"""Which images stand in the page, with their labels and outlines."""

from __future__ import annotations

import glob
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from doll_monai.data.image_files import stem
from doll_monai.findings import FOREGROUND
from doll_monai.transforms.reading import read_picture
from doll_monai.visualize.pictures import LABEL_COLOR, TRUTH_COLOR, outline, outlines
from doll_tools.report.drawing import read_mask, tint
from doll_tools.report.labels import Labels, Pair
from doll_tools.report.run_folder import RunFolder, figure, relative_to

RANKS = {0.0: "best", 0.25: "upper quartile", 0.5: "median", 0.75: "lower quartile", 1.0: "worst"}


@dataclass
class ImageRow:
    """Pictures (H, W, 3) of one image side by side with their alternative texts, and what stands below."""

    title: str
    caption: str
    pictures: list[tuple[np.ndarray, str]]


def label_rows(labels: Labels, count: int = 12) -> list[ImageRow]:
    """Images with the label of one positive observation and its ground truth, where there is one.

    The observations take turns. Of an observation's images those with ground truth come first, by a hash of their
    names: nothing is picked for its looks.
    """
    pairs = [(image.image, pair) for image in labels.images() for pair in image.pairs]
    pairs.sort(key=lambda item: item[1].channel not in labels.known(item[0]))
    turns: Counter[int] = Counter()
    order = []
    for image, pair in pairs:
        order.append((turns[pair.channel], pair.channel, image, pair))
        turns[pair.channel] += 1
    rows: dict[str, ImageRow] = {}
    for _, _, image, pair in sorted(order, key=lambda item: item[:2]):
        row = None if image in rows or len(rows) == count else _label_row(labels, image, pair)
        if row is not None:
            rows[image] = row
    return list(rows.values())


def _label_row(labels: Labels, image: str, pair: Pair) -> ImageRow | None:
    picture, label = read_picture(labels.folder.chexpert / image), read_mask(labels.label(image), pair.channel)
    if picture is None or label is None:
        return None
    name = pair.observation
    pictures = [
        (picture, f"Radiograph {image}"),
        (tint(picture, label == FOREGROUND), f"The same with its label of {name} tinted"),
    ]
    known = labels.truth_masks(image, picture.shape).get(pair.channel)
    if known is not None:
        pictures.append((outline(picture, known, TRUTH_COLOR), f"The same with the ground truth of {name} outlined"))
    caption = f"probability {figure(pair.probability, 2)}, label {pair.foreground_share:.0%}"
    return ImageRow(name, caption, pictures)


def task_rows(folder: RunFolder) -> list[ImageRow]:
    """Test images of the task, outlined by the adapted network and by the ground truth: quartiles of their Dice."""
    table = folder.table(f"{folder.task}/adapter/evaluation/dice_raw.csv", ("filename", "mean"))
    if table is None:
        return []
    table = table.dropna(subset="mean").sort_values(["mean", "filename"], ascending=[False, True])
    records = folder.records("task/dataset.json")
    chosen: dict[int, str] = {}
    for place, name in RANKS.items() if len(table) else ():
        chosen.setdefault(round(place * (len(table) - 1)), name)
    rows = []
    for number, name in chosen.items():
        image = relative_to(str(table["filename"].iloc[number]), folder.task_data)
        label = records.get(image, {}).get("label")
        rows.append(_task_row(folder, image, label, f"{name}, Dice {table['mean'].iloc[number]:.3f}"))
    return [row for row in rows if row is not None]


def _task_row(folder: RunFolder, image: str, label: Any, caption: str) -> ImageRow | None:
    picture = read_picture(folder.task_data / image)
    predictions = folder.root / folder.task / "adapter" / "predictions"
    found = sorted(predictions.glob(f"{glob.escape(stem(image))}_*.nii.gz"))
    if picture is None or not found:
        return None
    predicted = read_mask(min(found, key=lambda path: len(path.name)))
    truth = read_mask(folder.root / "task" / label) if isinstance(label, str) else None
    what = "predicted outline" if truth is None else "predicted outline and ground truth"
    if truth is not None:
        picture = outlines(picture, truth, TRUTH_COLOR, dashed=True)
    if predicted is not None:
        picture = outlines(picture, predicted, LABEL_COLOR)
    return ImageRow(caption, image, [(picture, f"Radiograph {image} with {what}; {caption}")])
