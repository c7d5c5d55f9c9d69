"""Play the annotator of a running label app: how good proposals are before and after training, and what clicks add.

Example, with the images of a table in one folder, served by ``doll annotate IMAGES``:
    doll annotate measure --csv IMAGES/index.csv --classes lungs=right_lung+left_lung --output output/annotation.json
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.ndimage import distance_transform_edt, label

from doll_monai.data.datalist import read_table
from doll_monai.utils.atomic import write_atomic
from doll_monai.utils.errors import InputError
from doll_monai.utils.progress import Bar
from doll_tools.annotate.command import need_monailabel
from doll_tools.annotate.masks import FINAL, check_classes, join_classes, split_classes
from doll_tools.prepare.masks import parse_classes, read_mask

CLICKS = (1, 3, 5)
Masks = Mapping[str, np.ndarray]
"""Image to mask, (T, H, W) bool."""


def measure(
    csv: str,
    classes: str,
    output: str,
    address: str = "http://127.0.0.1:8000",
    model: str = "lung_cxr_segmentation",
    drawn: int = 10,
    asked: int = 20,
    image: str = "image",
    quiet: bool = False,
) -> None:
    """Save the ground truth of some images, train, and compare proposals for others with theirs.

    Args:
        csv: table of images and masks; an image's id is its file's name.
        classes: all of the task's, such as lungs=right_lung+left_lung, as for doll prepare masks.
        output: JSON file for the figures.
        address: of the app.
        model: the task.
        drawn: images whose ground truth is saved, the first of the table.
        asked: images that are asked about, the last of the table.
        image: column of images.
        quiet: show no progress.
    """
    need_monailabel()
    from monailabel.client.client import MONAILabelClientException

    columns = parse_classes(classes)
    check_classes(list(columns))
    truth: dict[str, np.ndarray] = {}
    for _, row in read_table(csv, [image, *(column for group in columns.values() for column in group)]):
        groups = [[read_mask(Path(csv).parent / row[column]) for column in group] for group in columns.values()]
        truth[Path(row[image]).name.split(".")[0]] = np.stack([np.any(group, axis=0) for group in groups])
    if len(truth) < drawn + asked:
        raise InputError(f"{csv} has {len(truth)} images; {drawn} and {asked} are asked for.")
    names = list(truth)
    others = {name: truth[name] for name in names[-asked:]}
    try:
        with tempfile.TemporaryDirectory() as folder:
            annotator = _Annotator(address, model, list(columns), folder)
            result: dict[str, Any] = {"model": model, "drawn": drawn, "asked": asked}
            if model in annotator.client.info()["models"]:
                result["first_proposal"] = annotator.dice(Bar(others.items(), name="before training", quiet=quiet))
            for name in Bar(names[:drawn], name="saving", quiet=quiet):
                annotator.save(name, truth[name])
            result["training"] = annotator.train()
            result["second_proposal"] = annotator.dice(Bar(others.items(), name="after training", quiet=quiet))
            result["clicks"] = annotator.click(Bar(others.items(), name="clicks", quiet=quiet))
    except (MONAILabelClientException, OSError) as error:
        raise InputError(f"The app at {address} does not do it: {getattr(error, 'msg', error)}") from error
    write_atomic(output, json.dumps(result, indent=2).encode())
    print(json.dumps(result, indent=2))


class _Annotator:
    """Args: address, of the app; model, a task; classes, of its channels; folder, for files on their way."""

    def __init__(self, address: str, model: str, classes: list[str], folder: str) -> None:
        from monailabel.client import MONAILabelClient

        self.client = MONAILabelClient(address, folder)
        self.model, self.classes, self.folder = model, classes, Path(folder)

    def propose(self, image: str, **clicks: Any) -> np.ndarray:
        """The mask that is proposed after clicks, (T, H, W) bool."""
        model = self.model.replace("_segmentation", "_clicks") if clicks else self.model
        file, _ = self.client.infer(model, image, {"result_extension": ".png", **clicks})
        with Image.open(file) as mask:
            found = split_classes(np.asarray(mask), self.classes)
        Path(file).unlink()
        return found

    def save(self, image: str, mask: np.ndarray) -> None:
        path = self.folder / "label.png"
        Image.fromarray(join_classes(mask, self.classes)).save(path)
        self.client.save_label(image, str(path), FINAL, {"classes": self.classes})

    def train(self) -> dict[str, Any]:
        start = time.monotonic()
        self.client.train_start(self.model, {})
        while (status := self.client.train_status())["status"] in ("SUBMITTED", "RUNNING"):
            time.sleep(0.5)
        if status["status"] != "DONE":
            raise InputError(f"The training ended with {status['status']}: {' '.join(status['details'][-3:])}")
        stats: dict[str, Any] = self.client.info()["train_stats"][self.model]
        return {**stats, "seconds_with_start": round(time.monotonic() - start)}

    def dice(self, truth: Bar) -> dict[str, float]:
        """Mean Dice of each class."""
        scores = [[_dice(a, b) for a, b in zip(self.propose(image), masks, strict=True)] for image, masks in truth]
        return dict(zip(self.classes, np.mean(scores, axis=0).round(4).tolist(), strict=True))

    def click(self, truth: Bar) -> dict[str, dict[str, float]]:
        """Mean Dice of each class after clicks, each in the middle of the largest region that is wrong."""
        scores: dict[str, dict[str, list[float]]] = {name: {str(n): [] for n in CLICKS} for name in self.classes}
        for image, masks in truth:
            proposal = self.propose(image)
            for number, (name, mask) in enumerate(zip(self.classes, masks, strict=True)):
                clicks: dict[str, list[list[int]]] = {"foreground": [], "background": []}
                found = proposal[number]
                for count in range(1, max(CLICKS) + 1):
                    if (found != mask).any():
                        column, row = _middle_of_largest(found != mask)
                        clicks["foreground" if mask[row, column] else "background"].append([column, row])
                        found = self.propose(image, label=name, **clicks)[number]
                    if count in CLICKS:
                        scores[name][str(count)].append(_dice(found, mask))
        return {name: {n: round(float(np.mean(dice)), 4) for n, dice in by.items()} for name, by in scores.items()}


def _middle_of_largest(wrong: np.ndarray) -> tuple[int, int]:
    """Column and row of the pixel deepest inside the largest connected region."""
    regions, _ = label(wrong)
    largest = regions == np.bincount(regions.ravel())[1:].argmax() + 1
    depth = distance_transform_edt(np.pad(largest, 1))[1:-1, 1:-1]
    row, column = np.unravel_index(depth.argmax(), depth.shape)
    return int(column), int(row)


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / max(a.sum() + b.sum(), 1))
