"""Test images segmented from scratch and after pre-training on DoLLs: a row a task."""

from __future__ import annotations

import ast
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from doll_monai.data.datalist import write_datalist
from doll_monai.findings import FOREGROUND
from doll_monai.utils.errors import InputError
from doll_monai.utils.json_object import read_json_object
from doll_monai.visualize.pictures import TRUTH_COLOR, outlines
from doll_tools.compare.bundle import OURS
from doll_tools.compare.cells import CELLS, RECORD, Cell
from doll_tools.compare.few_shot import read_table
from doll_tools.compare.image_scores import TEST
from doll_tools.compare.results import IMAGES
from doll_tools.compare.statistics import SEEDED
from doll_tools.pipeline.stages import bundle_run
from doll_tools.report.figures.drawing import mask_of, note_of, picture_of, segmented, show

NAMES = {"scratch": "from scratch", "doll": "DoLL, end to end"}
RANKS = {"median": 0.5, "worst": 0.0}
"""Place of an image among all test images, in ascending order of the IoU."""


def draw_pretraining(folders: Sequence[Path], output: Path) -> Figure:
    """The figure; each task with its most annotated images, everything trained, the first seed.

    Args:
        folders: comparisons, one a task, that kept the weights of ``scratch/full`` and ``doll/full``.
        output: folder for the predicted masks.
    """
    columns = 1 + len(NAMES)
    figure = Figure(figsize=(1.7 * columns * len(RANKS), 1.9 * len(folders) + 0.4), layout="constrained")
    grid = figure.subplots(len(folders), columns * len(RANKS), squeeze=False)
    for row, folder in zip(grid, folders, strict=True):
        images = read_table(folder / IMAGES, [*SEEDED, "split", "image", "class", "iou"])
        cells = [Cell(name, "full", int(images["shots"].max()), 0) for name in NAMES]
        labels = _labels(folder)
        chosen = chosen_images(images, cells, list(labels))
        for number, (rank, (image, ious)) in enumerate(chosen.items()):
            panels = row[number * columns : (number + 1) * columns]
            truth = mask_of(labels[image])
            data = predict(folder, cells, [item[0] for item in chosen.values()], output / folder.name)
            picture = picture_of(data / image)
            show(panels[0], outlines(picture, truth, TRUTH_COLOR), f"{rank} test image", beside=folder.name)
            for axes, cell, iou in zip(panels[1:], cells, ious, strict=True):
                mask = mask_of(_mask_file(output / folder.name / cell.name, image))
                drawn = segmented(outlines(picture, truth, TRUTH_COLOR, dashed=True), mask)
                show(axes, drawn, NAMES[cell.initialization], f"IoU {iou:.2f}")
    order = "Test images in the order of their IoU, mean over classes and both networks. Ground truth: blue."
    figure.supxlabel(f"{order} {note_of(data)}", fontsize=7)
    return figure


def chosen_images(
    images: pd.DataFrame, cells: Sequence[Cell], known: Sequence[str]
) -> dict[str, tuple[str, list[float]]]:
    """Rank to image and each cell's IoU, mean over classes; ordered by the mean over cells, which favors none.

    Of the test images those may be chosen that are ``known``; ``InputError`` when a cell has none of them.
    """
    images = images[(images["split"] == TEST) & images["image"].isin(list(known))]
    means = []
    for cell in cells:
        key = [cell.initialization, cell.tuning, cell.shots, cell.seed]
        rows = images[(images[SEEDED] == key).all(axis=1)]
        if rows.empty:
            raise InputError(f"The comparison has no test image of the cell {cell.name}; run doll compare with it.")
        means.append(rows.groupby("image")["iou"].mean())
    table = pd.concat(means, axis=1).dropna()
    order = table.mean(axis=1).reset_index().sort_values([0, "image"])["image"].tolist()
    chosen = {rank: order[int(place * (len(order) - 1))] for rank, place in RANKS.items()}
    return {rank: (image, table.loc[image].tolist()) for rank, image in chosen.items()}


def predict(folder: Path, cells: Sequence[Cell], images: Sequence[str], output: Path) -> Path:
    """Write the masks of some images by the weights that cells kept, else ``InputError``; the folder of the images."""
    for cell in cells:
        place, weights = (output / cell.name).resolve(), (folder / CELLS / cell.name / "model.pt").resolve()
        if not weights.is_file():
            raise InputError(f"{weights} was not kept; run doll compare with --keep_weights true into another folder.")
        scoring = read_json_object(folder / CELLS / cell.name / RECORD)["scoring_command"]
        command, data = inference_command(shlex.split(scoring), weights, place)
        if not all(_mask_file(place, image).is_file() for image in images):
            write_datalist(place / "dataset.json", {"test": [{"image": image} for image in images]})
            print(shlex.join(command), flush=True)
            if subprocess.run([sys.executable, *command[1:]], check=False).returncode:
                raise InputError(f"This command failed: {shlex.join(command)}")
    return data


def inference_command(scoring: Sequence[str], checkpoint: Path, output: Path) -> tuple[list[str], Path]:
    """The command that predicts with a cell's weights, from the one that scored them, and the images' folder."""
    arguments = list(scoring)[list(scoring).index("run") + 1 :]
    values = {name.removeprefix("--"): text for name, text in zip(arguments[::2], arguments[1::2], strict=True)}
    configs = [Path(path) for path in ast.literal_eval(values.pop("config_file"))]
    bundle = Path(values.pop("bundle_root"))
    inference = bundle / "configs" / "inference.json"
    network = configs[configs.index(OURS["evaluate"]) + 1 :]
    known = set(read_json_object(inference))
    kept = {name: text for name, text in values.items() if name.partition("::")[0] in known}
    own = {"checkpoint": checkpoint, "datalist": output / "dataset.json", "section": "test", "output_dir": output}
    return bundle_run([inference, *network], bundle, **{**kept, **own}), Path(values["dataset_dir"])


def _labels(folder: Path) -> dict[str, Path]:
    """Image to its label file; images whose ground truth is empty are left out, they show nothing."""
    records = read_json_object(folder / "task" / "dataset.json")["test"]
    labels = {record["image"]: folder / "task" / record["label"] for record in records}
    return {image: path for image, path in labels.items() if np.any(mask_of(path) == FOREGROUND)}


def _mask_file(folder: Path, image: str) -> Path:
    """The mask of an image in a folder of predictions, named after it and the classes; a missing path without one."""
    stem = Path(image.removesuffix(".gz")).with_suffix("")
    found = sorted((folder / stem.parent).glob(f"{stem.name}_*.nii.gz"), key=lambda path: len(path.name))
    return found[0] if found else folder / f"{stem}.nii.gz"
