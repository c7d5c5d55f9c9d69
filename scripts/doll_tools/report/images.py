"""Which images stand in the page, with their labels and outlines."""

from __future__ import annotations

import glob
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from doll_monai.data.ground_truth import GroundTruth
from doll_monai.findings import FINDINGS, FOREGROUND, finding_index
from doll_monai.visualize.pictures import (
    LABEL_COLOR,
    TRUTH_COLOR,
    data_uri,
    outline,
    outlines,
    read_image,
    read_mask,
    tint,
)
from doll_tools.report.pairs import LabeledImage, Pair, label_path, labeled_images, places, shown_first, truth_of
from doll_tools.report.run_folder import RunFolder, figure, relative_to


@dataclass
class ImageRow:
    """Pictures of one image side by side: data URIs with their alternative texts, and what stands below."""

    title: str
    caption: str = ""
    pictures: list[tuple[str, str]] = field(default_factory=list)


def label_rows(folder: RunFolder, count: int = 12) -> list[ImageRow]:
    """Images with the label of one positive observation and, where it is known, the truth.

    The observations take turns. Of an observation's images those with a known truth come first, by a hash of
    their names: nothing is picked for its looks.
    """
    truth = truth_of(folder.chexpert)
    queues: dict[str, list[tuple[LabeledImage, Pair]]] = {}
    for image in shown_first(labeled_images(folder), truth, folder):
        for pair in image.pairs:
            queues.setdefault(pair.observation, []).append((image, pair))
    for name, queue in queues.items():
        queue.sort(key=lambda item: finding_index(name) not in truth.channels(folder.chexpert / item[0].image))
    rows: list[ImageRow] = []
    used: set[str] = set()
    while len(rows) < count and any(queues.values()):
        for name in (name for name in FINDINGS if queues.get(name)):
            image, pair = queues[name].pop(0)
            row = None if image.image in used else _label_row(folder, truth, image.image, pair)
            if row is not None and len(rows) < count:
                rows.append(row)
                used.add(image.image)
    return rows


def task_rows(folder: RunFolder) -> list[ImageRow]:
    """Test images of the task with the adapted network's outline and the truth's: best, quartiles and worst by Dice."""
    table = folder.table(f"{folder.task}/adapter/evaluation/dice_raw.csv", ("filename", "mean"))
    if table is None:
        return []
    table = table.dropna(subset="mean").sort_values(["mean", "filename"], ascending=[False, True])
    images = list(zip(table["filename"].astype(str), table["mean"].astype(float), strict=True))
    named = {0.0: "best", 0.25: "upper quartile", 0.5: "median", 0.75: "lower quartile", 1.0: "worst"}
    labels = {
        record["image"]: record.get("label")
        for section in ("test", "validation", "training")
        for record in folder.datalist("task/dataset.json").get(section, [])
    }
    rows, shown = [], set()
    for place, name in named.items() if images else ():
        number = round(place * (len(images) - 1))
        if number not in shown:
            shown.add(number)
            path, dice = images[number]
            image = relative_to(path, folder.task_data)
            row = _task_row(folder, image, labels.get(image), f"{name}, Dice {dice:.3f}")
            rows += [row] if row else []
    return rows


def _label_row(folder: RunFolder, truth: GroundTruth, image: str, pair: Pair) -> ImageRow | None:
    observation, channel = pair.observation, finding_index(pair.observation)
    radiograph, label = read_image(folder.chexpert / image), read_mask(label_path(folder, image), channel)
    if radiograph is None or label is None:
        return None
    row = ImageRow(observation, f"probability {figure(pair.probability, 2)}, label {pair.foreground_share:.0%}")
    row.pictures.append((data_uri(radiograph), f"Radiograph {image}"))
    row.pictures.append(
        (data_uri(tint(radiograph, label == FOREGROUND)), f"The same with its label of {observation} tinted")
    )
    known = places(truth, folder.chexpert / image, (radiograph.shape[1], radiograph.shape[0]))
    if channel in known:
        drawn = outline(radiograph, known[channel].T, TRUTH_COLOR)
        row.pictures.append((data_uri(drawn), f"The same with the true {observation} outlined"))
    return row


def _task_row(folder: RunFolder, image: str, label: Any, caption: str) -> ImageRow | None:
    radiograph = read_image(folder.task_data / image)
    stem = Path(image.removesuffix(".gz")).with_suffix("")
    predictions = folder.root / folder.task / "adapter" / "predictions"
    found = sorted(predictions.glob(f"{glob.escape(stem.as_posix())}_*.nii.gz"))
    if radiograph is None or not found:
        return None
    predicted = read_mask(min(found, key=lambda path: len(path.name)))
    truth = read_mask(folder.root / "task" / label) if isinstance(label, str) else None
    drawn, what = radiograph, "predicted outline"
    if truth is not None:
        drawn, what = outlines(drawn, truth, TRUTH_COLOR, dashed=True), "predicted and true outline"
    if predicted is not None:
        drawn = outlines(drawn, predicted, LABEL_COLOR)
    return ImageRow(caption, image, [(data_uri(drawn), f"Radiograph {image} with {what}; {caption}")])
