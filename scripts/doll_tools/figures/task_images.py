"""Test images of a comparison that are shown, and what two starts make of them."""

from __future__ import annotations

import ast
import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from doll_monai.data.datalist import write_datalist
from doll_monai.findings import FOREGROUND
from doll_monai.handlers.image_scores import TEST
from doll_monai.utils.errors import InputError
from doll_monai.utils.json_object import read_json_object
from doll_monai.visualize.pictures import read_mask
from doll_tools.compare.cells import Cell
from doll_tools.compare.measured import MeasuredTask
from doll_tools.compare.results import CELLS
from doll_tools.figures.commands import run_printed
from doll_tools.pipeline.stages import bundle_run

RANKS = {"best": 1.0, "median": 0.5, "worst": 0.0}
"""Place of an image among all test images, in ascending order of its IoU."""


@dataclass(frozen=True)
class ShownImage:
    """An image with its truth and the masks of each start, (T, H, W) bool in the image's own size.

    Attributes:
        data, image: the folder of the task's images, and the image's path below it.
        rank: of ``RANKS``.
    """

    data: Path
    image: str
    rank: str
    truth: np.ndarray
    masks: dict[str, np.ndarray]


def chosen_images(
    task: MeasuredTask, cells: Sequence[Cell], ranks: Sequence[str], images: Collection[str]
) -> dict[str, str]:
    """Rank to image, by the IoU with the truth: mean over classes, then over the cells, so that it favours none.

    The median of an even number is the lower of two; equal IoUs are ordered by name.

    Args:
        task: the comparison.
        cells: those whose IoU counts.
        ranks: of ``RANKS``.
        images: that may be chosen; only test images are.

    Raises:
        InputError: for an unknown rank, or when a cell is missing or has none of these images.
    """
    unknown = [rank for rank in ranks if rank not in RANKS]
    if unknown:
        raise InputError(f"There is no rank '{unknown[0]}'; there are: {', '.join(RANKS)}.")
    table = task.images[(task.images["split"] == TEST) & task.images["image"].isin(list(images))]
    means = []
    for cell in cells:
        of_cell = (table["init"] == cell.init) & (table["tuning"] == cell.tuning) & (table["shots"] == cell.shots)
        rows = table[of_cell & (table["seed"] == cell.seed)]
        if rows.empty:
            raise InputError(f"The comparison of {task.name} has no test image of the cell {cell.name}; run it first.")
        means.append(rows.groupby("image")["iou"].mean())
    order = sorted((float(iou), str(image)) for image, iou in (sum(means) / len(means)).dropna().items())  # type: ignore[union-attr]
    return {rank: order[int(RANKS[rank] * (len(order) - 1))][1] for rank in ranks}


def shown_images(
    comparison: Path, task: MeasuredTask, cells: Sequence[Cell], ranks: Sequence[str], output: Path
) -> list[ShownImage]:
    """The chosen images with their masks, by the task's ``inference.json`` and the weights that each cell kept.

    Args:
        comparison: its folder.
        task: the same, read.
        cells: those that are compared.
        ranks: of ``RANKS``.
        output: folder for the predictions.

    Raises:
        InputError: see ``chosen_images``; when a cell kept no weights or a command fails.
    """
    labels = _labels(comparison, task)
    chosen = chosen_images(task, cells, ranks, labels)
    images = list(dict.fromkeys(chosen.values()))
    folders = {}
    for cell in cells:
        folder = output / cell.name
        write_datalist(folder / "dataset.json", {"test": [{"image": image} for image in images]})
        folders[cell.init] = (folder, _predict(comparison, cell, folder))
    shown = []
    for rank, image in chosen.items():
        stem = Path(image.removesuffix(".gz")).with_suffix("").as_posix()
        masks = {
            init: mask_of(folder / f"{stem}_{'_'.join(task.classes)}.nii.gz") for init, (folder, _) in folders.items()
        }
        data = next(iter(folders.values()))[1]
        shown.append(ShownImage(data, image, rank, mask_of(labels[image]), masks))
    return shown


def inference_command(scoring: Sequence[str], checkpoint: Path, output: Path) -> tuple[list[str], Path]:
    """The command that predicts with a cell's weights, from the one that scored them.

    Args:
        scoring: a ``monai.bundle run`` command of ``doll_tools.compare.stages``.
        checkpoint: the cell's ``model.pt``.
        output: folder with the ``dataset.json`` of the images; the masks get there too.

    Returns:
        the command, and the images' folder.
    """
    arguments = list(scoring)[list(scoring).index("run") + 1 :]
    values = {name.removeprefix("--"): text for name, text in zip(arguments[::2], arguments[1::2], strict=True)}
    configs = [Path(path) for path in ast.literal_eval(values.pop("config_file"))]
    bundle = Path(values.pop("bundle_root"))
    inference = bundle / "configs" / "inference.json"
    network = configs[[path.name for path in configs].index("score.json") + 1 :]
    known = set(read_json_object(inference))
    kept = {name: text for name, text in values.items() if name.partition("::")[0] in known}
    own = {"checkpoint": checkpoint, "datalist": output / "dataset.json", "section": "test", "output_dir": output}
    return bundle_run([inference, *network], bundle, **{**kept, **own}), Path(values["dataset_dir"])


def _labels(comparison: Path, task: MeasuredTask) -> dict[str, Path]:
    """Test image to its label file; images whose truth is empty are left out, they show nothing."""
    tested = set(task.images.loc[task.images["split"] == TEST, "image"])
    records = read_json_object(comparison / "task" / "dataset.json")["test"]
    labels = {record["image"]: comparison / "task" / record["label"] for record in records}
    return {image: path for image, path in labels.items() if image in tested and mask_of(path).any()}


def _predict(comparison: Path, cell: Cell, output: Path) -> Path:
    """Write a cell's masks; the images' folder."""
    checkpoint = comparison / CELLS / cell.name / "model.pt"
    if not checkpoint.is_file():
        raise InputError(
            f"{checkpoint} was not kept; run compare_initializations with --keep_weights true into another folder."
        )
    record = read_json_object(comparison / ".stages" / f"{cell.name}_scores.json")
    command, data = inference_command(shlex.split(record["command"]), checkpoint.resolve(), output.resolve())
    run_printed(command)
    return data


def mask_of(path: Path) -> np.ndarray:
    """The foreground of a label file, (T, H, W) bool.

    Raises:
        InputError: when it cannot be read.
    """
    mask = read_mask(path)
    if mask is None:
        raise InputError(f"{path} cannot be read; delete it and make it again.")
    return np.asarray(mask == FOREGROUND)
