"""Play the annotator of a running label app: how good proposals are before and after training, and what clicks add."""

from __future__ import annotations

import json
import tempfile
import time
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
from doll_tools.annotate.masks import FINAL, check_classes, dice, join_classes, split_classes
from doll_tools.prepare.masks import parse_classes, read_mask

CLICKS = (1, 3, 5)


def measure(
    csv: str,
    classes: str,
    output: str,
    address: str = "http://127.0.0.1:8000",
    model: str = "lung_cxr_segmentation",
    drawn: int = 10,
    asked: int = 20,
    quiet: bool = False,
) -> None:
    """Save the ground truth of some images, train, and compare proposals for others with theirs.

    Args:
        csv: table of masks and of images (column image), whose files' names are their ids in the app.
        classes: all of the task's, such as lungs=right_lung+left_lung, as for doll prepare masks.
        output: JSON file for the figures.
        address: of the app.
        model: the task.
        drawn: images whose ground truth is saved, the first of the table.
        asked: images that are asked about, the last of the table.
        quiet: show no progress.
    """
    need_monailabel()
    from monailabel.client import MONAILabelClient
    from monailabel.client.client import MONAILabelClientException

    columns = parse_classes(classes)
    check_classes(list(columns))
    truth: dict[str, np.ndarray] = {}
    for _, row in read_table(csv, ["image", *(column for group in columns.values() for column in group)]):
        groups = [[read_mask(Path(csv).parent / row[column]) for column in group] for group in columns.values()]
        truth[Path(row["image"]).name.split(".")[0]] = np.stack([np.any(group, axis=0) for group in groups])
    if len(truth) < drawn + asked:
        raise InputError(f"{csv} has {len(truth)} images; {drawn} and {asked} are asked for.")
    others = list(truth.items())[-asked:]
    result: dict[str, Any] = {"model": model, "drawn": drawn, "asked": asked}
    try:
        with tempfile.TemporaryDirectory() as folder:
            annotator = _Annotator(MONAILabelClient(address, folder), model, list(columns))
            if model in annotator.client.info()["models"]:
                first = annotator.dice(Bar(others, name="before training", quiet=quiet))
                result["first_proposal"] = {name: scores[0] for name, scores in first.items()}
            for name in list(truth)[:drawn]:
                annotator.save(name, truth[name], Path(folder) / "label.png")
            result["training"] = annotator.train()
            second = annotator.dice(Bar(others, name="after training", quiet=quiet), max(CLICKS))
    except (MONAILabelClientException, OSError) as error:
        raise InputError(f"The app at {address} does not do it: {getattr(error, 'msg', error)}") from error
    result["second_proposal"] = {name: scores[0] for name, scores in second.items()}
    result["clicks"] = {name: {count: scores[count] for count in CLICKS} for name, scores in second.items()}
    write_atomic(output, json.dumps(result, indent=2).encode())
    print(json.dumps(result, indent=2))


class _Annotator:
    def __init__(self, client: Any, model: str, classes: list[str]) -> None:
        self.client, self.model, self.classes = client, model, classes

    def propose(self, image: str, **clicks: Any) -> np.ndarray:
        """The mask that is proposed after clicks, (T, H, W) bool."""
        model = self.model.replace("_segmentation", "_clicks") if clicks else self.model
        file, _ = self.client.infer(model, image, {"result_extension": ".png", **clicks})
        with Image.open(file) as mask:
            return split_classes(np.asarray(mask), self.classes)

    def save(self, image: str, mask: np.ndarray, path: Path) -> None:
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

    def dice(self, truth: Bar, clicks: int = 0) -> dict[str, list[float]]:
        """Mean Dice of each class after 0, 1, ... clicks, each in the middle of the largest region that is wrong."""
        scores = []
        for image, masks in truth:
            for name, found, mask in zip(self.classes, self.propose(image), masks, strict=True):
                points: dict[str, list[list[int]]] = {"foreground": [], "background": []}
                scores.append(dice(found, mask) or 0.0)
                for _ in range(clicks):
                    if (found != mask).any():
                        column, row = _middle_of_largest(found != mask)
                        points["foreground" if mask[row, column] else "background"].append([column, row])
                        found = self.propose(image, label=name, **points)[self.classes.index(name)]
                    scores.append(dice(found, mask) or 0.0)
        means = np.reshape(scores, (-1, len(self.classes), clicks + 1)).mean(axis=0).round(4)
        return dict(zip(self.classes, means.tolist(), strict=True))


def _middle_of_largest(wrong: np.ndarray) -> tuple[int, int]:
    """Column and row of the pixel deepest inside the largest connected region."""
    regions, _ = label(wrong)
    largest = regions == np.bincount(regions.ravel())[1:].argmax() + 1
    depth = distance_transform_edt(np.pad(largest, 1))[1:-1, 1:-1]
    row, column = np.unravel_index(depth.argmax(), depth.shape)
    return int(column), int(row)
