"""Runs and comparisons made by hand, with the files that figures read."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from doll_monai.data.label_files import write_label
from doll_monai.findings import BACKGROUND, FOREGROUND, IGNORE, finding_index
from doll_monai.handlers.image_scores import METRICS
from doll_monai.networks.weights import file_hash
from doll_tools.compare.results import COLUMNS

SIZE = 32
OBSERVATIONS = {"Cardiomegaly": (4, 8, 12), "Edema": (4, 8)}
"""Observation to the shift of the label against the truth, in pixels, one an image."""
IMAGES = [f"valid/patient{number}/study1/view1_frontal.png" for number in range(3)]
TRAINING_IMAGE = "train/patient9/study1/view1_frontal.png"


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def write_csv(path: Path, header: list[str], rows: list[list[Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as stream:
        csv.writer(stream).writerows([header, *rows])


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def square(top: int, left: int, side: int = 12) -> np.ndarray:
    """A mask (SIZE, SIZE) in rows and columns."""
    mask = np.zeros((SIZE, SIZE), bool)
    mask[top : top + side, left : left + side] = True
    return mask


def make_run(root: Path) -> Path:
    """Three validation images and a training image, whose labels are squares beside the truth's."""
    run, data = root / "run", root / "data"
    (data / "truth").mkdir(parents=True)
    (data / "phantom.json").write_text("{}")
    table, places = [], []
    for number, image in enumerate([*IMAGES, TRAINING_IMAGE]):
        save(data / image, np.tile(np.linspace(0, 200, SIZE), (SIZE, 1)))
        label = np.full((14, SIZE, SIZE), BACKGROUND, np.uint8)
        for name, shifts in OBSERVATIONS.items():
            if number >= len(shifts) and image != TRAINING_IMAGE:
                continue
            shift = 0 if image == TRAINING_IMAGE else shifts[number]
            region = label[finding_index(name)]
            region[square(8, 2 + shift, 14)] = IGNORE
            region[square(9, 4 + shift)] = FOREGROUND
            mask = f"truth/{name}{number}.png"
            save(data / mask, square(9, 4) * 255)
            places.append([f"data/{image}", name, mask])
            table.append([image, name, 0.8, 0.1, 20, 0.14])
        write_label((run / "labels/labels" / image).with_suffix(".nii.gz"), label.transpose(0, 2, 1))
    write_csv(data / "truth.csv", ["Path", "finding", "mask"], places)
    columns = ["image", "observation", "probability", "completeness_error", "n_steps", "foreground_share"]
    write_csv(run / "labels/labels.csv", columns, table)
    records = {"training": [{"image": TRAINING_IMAGE}], "validation": [{"image": image} for image in IMAGES]}
    write_json(run / "labels/dataset.json", records)
    targets = [1.0 if name in (2, 5) else None for name in range(14)]
    labeled = {name: [{**record, "label": targets} for record in images] for name, images in records.items()}
    write_json(run / "chexpert/dataset.json", labeled)
    (run / "pretraining").mkdir()
    (run / "pretraining/model.pt").write_bytes(b"weights")
    members = [{"_target_": "DenseNet"}, {"_target_": "ResNet"}]
    write_json(run / "configs/committee.json", {"network_def": {"members": members}})
    write_json(run / "configs/pretraining_network.json", {"network_def::backbone": members[1]})
    pipeline = {"chexpert": str(data), "task_data": str(root / "task"), "members": ["densenet", "resnet"]}
    write_json(run / "pipeline.json", {**pipeline, "image_size": [SIZE, SIZE]})
    return run


def make_comparison(folder: Path, classes: tuple[str, ...], pretrained: Path | None = None) -> Path:
    """Five test images and two seeds of scratch and doll; image k has the IoU (k + 1) / 10, and 0.2 more after doll."""
    name = folder.name
    images, curves, results = [], [], []
    for init, more in (("scratch", 0.0), ("doll", 0.2)):
        for seed in range(2):
            cell = [init, "full", 5]
            for number in range(5):
                for split in ("valid", "test"):
                    iou = (number + 1) / 10 + more
                    images += [[*cell, seed, split, f"image{number}.png", "p", kind, iou, iou, 0.1] for kind in classes]
            curves += [[*cell, seed, step, step / 100 + more + seed / 10, 0.5] for step in (5, 10)]
            values = dict.fromkeys(COLUMNS, 0) | {"task": name, "init": init, "tuning": "full", "shots": 5}
            results.append(list((values | {"class": classes[0], "seed": seed}).values()))
            record = {"init": init, "tuning": "full", "shots": 5, "seed": seed, "values": {}}
            write_json(folder / f"cells/{init}_full_shots5_seed{seed}/cell.json", record)
    write_csv(folder / "results.csv", COLUMNS, results)
    columns = ["init", "tuning", "shots", "seed"]
    write_csv(folder / "images.csv", [*columns, "split", "image", "patient", "class", *METRICS], images)
    write_csv(folder / "curves.csv", [*columns, "iteration", "iou", "dice"], curves)
    write_json(folder / "settings.json", {"task": name, "bundle": f"{name}_cxr_segmentation"})
    if pretrained is not None:
        write_json(folder / "starts/doll.json", {"part": "network", "sha256": file_hash(pretrained), "member": None})
    return folder
