"""``doll report figure``: a figure of a run as PNG, PDF or SVG; the same run gives the same bytes."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from doll_monai.findings import FINDINGS, FOREGROUND, IGNORE
from doll_monai.transforms.reading import read_picture
from doll_monai.utils.atomic import write_atomic
from doll_monai.utils.errors import InputError
from doll_monai.visualize.pictures import LABEL_COLOR, TRUTH_COLOR, outline
from doll_tools.compare.curves import UNSTABLE, draw_curves, rendered
from doll_tools.report.comparisons import find_comparisons, first_cells, read_curves, read_sheet
from doll_tools.report.drawing import read_mask, tint
from doll_tools.report.labels import LabeledImage, Labels, Pair
from doll_tools.report.pictures import task_rows
from doll_tools.report.run_folder import RunFolder
from doll_tools.report.summary import summarize

NAMES = ("overview", "labels", "pretraining", "curves")
STYLE: Any = {"font.size": 8, "axes.titlesize": 9, "axes.spines.top": False, "axes.spines.right": False}
COLUMNS = 6
"""Observations whose labels are shown, those with the most images."""
SIDE = 360
"""Longer side of an image in a figure, in pixels."""
KEY = "Labels: foreground tinted, ignored pixels dashed; ground truth: blue."
PRETRAINING = {("scratch", "full"): "from scratch", ("doll", "full"): "DoLL, end to end"}
"""Initialization and tuning of the two networks that are shown beside each other."""


def figure(name: str, run: str, output: str, comparisons: str | None = None, dpi: int = 130) -> None:
    """Draw a figure of a finished run; no image is picked for its looks.

    Args:
        name: overview (the four stages in a row of pictures), labels (DoLLs beside the ground truth, of each
            observation the image with the median IoU), pretraining (the best, the median and the worst test image of
            each task from scratch and after pre-training) or curves (IoU on valid images during fine-tuning).
        run: folder that doll run wrote.
        output: file to write, .png, .pdf or .svg.
        comparisons: output of doll compare, or a folder of one such output a task; those in the run's own folder
            comparisons by default.
        dpi: pixels an inch.
    """
    path = Path(output)
    if name not in NAMES:
        raise InputError(f"There is no figure '{name}'; there are: {', '.join(NAMES)}.")
    if path.suffix.removeprefix(".") not in UNSTABLE:
        raise InputError(f"{path.name} must end in {', '.join(f'.{kind}' for kind in UNSTABLE)}.")
    if isinstance(dpi, bool) or not isinstance(dpi, int) or not 20 <= dpi <= 1200:
        raise InputError(f"dpi must be a whole number from 20 to 1200, not {dpi}.")
    print(write_figure(name, RunFolder(run), path, None if comparisons is None else Path(comparisons), dpi))


def write_figure(name: str, run: RunFolder, path: Path, comparisons: Path | None = None, dpi: int = 130) -> Path:
    """Draw and write one of ``NAMES``, see ``figure``; ``InputError`` when something that it shows is missing."""
    with matplotlib.rc_context(STYLE):
        if name in ("overview", "labels"):
            drawn = _overview(run) if name == "overview" else _labels(run)
        else:
            folders = find_comparisons(run, comparisons)
            if not folders:
                raise InputError(f"{run.root} has no comparisons; give --comparisons a folder of doll compare.")
            drawn = _pretraining(folders) if name == "pretraining" else _curves(folders)
        kind = path.suffix.removeprefix(".")
        write_atomic(path, rendered(drawn, (kind,), dpi, bbox_inches="tight")[kind])
    return path


def _overview(run: RunFolder) -> Figure:
    """The four stages; parts that the run does not have are left out. ``InputError`` when it has no label."""
    labels = Labels(run)
    images = labels.images()
    if not images:
        raise InputError(f"{run.root} has no labels; let doll run go on to the end.")
    first, other = images[0], images[1 % len(images)]
    pair = max(first.pairs, key=lambda one: one.probability or 0.0)
    picture, label = _pictures(labels, first, pair)
    auroc = summarize(run).get("classifier", {}).get("mean_auroc")
    committee = f"{len(labels.members)} classifiers" + ("" if auroc is None else f", mean AUROC {auroc:.2f}")
    findings = ", ".join(one.observation for one in first.pairs)
    panels = [(picture, "1 Classify", f"{committee}\n{findings}")]
    maps = labels.maps(first.image)[1].get(pair.observation)
    if maps is not None:
        panels.append((maps[0], "2 Explain", f"Integrated Gradients of {pair.observation},\nmean of the members"))
    panels.append((label, "DoLL", f"label of {pair.observation}"))
    here = f"on the labels of {len(images):,} images\nhere {other.pairs[0].observation}"
    panels.append((_pictures(labels, other, other.pairs[0])[1], "3 Pre-train", here))
    for row in (row for row in task_rows(run) if row.title.startswith("median")):
        panels.append((row.pictures[0][0], "4 Adapt", f"{run.task}: adapter's outline,\n{row.title}"))
    figure = Figure(figsize=(2.3 * len(panels), 3.1), layout="constrained")
    for axes, (image, title, below) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        _show(axes, image, title, below)
    figure.supxlabel(f"{KEY} {_note(run.chexpert)}", fontsize=7)
    return figure


def scored_pairs(labels: Labels) -> pd.DataFrame:
    """The pairs with label and ground truth: ``labeled``, ``pair``, ``image``, ``seen``, ``observation``, ``iou``.

    Of images that the classifiers were not trained on (``seen`` is false), if there are any. ``InputError`` for none.
    """
    rows = []
    for image in (image for image in labels.images() if labels.known(image.image)):
        label = read_mask(labels.label(image.image))
        if label is not None:
            labels.score(image, label)
            seen = {"labeled": image, "image": image.image, "seen": image.section == "training"}
            rows += [{**seen, "pair": pair, **asdict(pair)} for pair in image.pairs if pair.iou is not None]
    if not rows:
        raise InputError(f"No image of {labels.folder.root} has both a label and ground truth.")
    table = pd.DataFrame(rows)
    return table if table["seen"].all() else table[~table["seen"]]


def median_pairs(pairs: pd.DataFrame, count: int = COLUMNS) -> pd.DataFrame:
    """Of each of the ``count`` observations with most pairs that with the median IoU, of an even number the lower."""
    most = sorted(pairs["observation"].value_counts().index[:count], key=FINDINGS.index)
    ordered = pairs.sort_values(["iou", "image"])
    parts = [ordered[ordered["observation"] == name] for name in most]
    return pd.concat([part.iloc[[(len(part) - 1) // 2]] for part in parts])


def _labels(run: RunFolder) -> Figure:
    """A column an observation, with the maps of the members where the run kept them."""
    labels = Labels(run)
    pairs = scored_pairs(labels)
    shown = list(median_pairs(pairs)[["labeled", "pair"]].itertuples(index=False, name=None))
    maps = [labels.maps(image.image)[1].get(pair.observation) for image, pair in shown]
    kept = any(found is not None for found in maps)
    rows = ["image and ground truth", *(f"map of {name}" for name in labels.members if kept), "DoLL and ground truth"]
    figure = Figure(figsize=(1.7 * len(shown), 1.8 * len(rows) + 0.4), layout="constrained")
    grid = figure.subplots(len(rows), len(shown), squeeze=False)
    for column, (image, pair), found in zip(grid.T, shown, maps, strict=True):
        picture, label = _pictures(labels, image, pair)
        truth = labels.truth_masks(image.image, picture.shape)[pair.channel]
        _show(column[0], outline(picture, truth, TRUTH_COLOR), title=pair.observation)
        for number, axes in enumerate(column[1:-1], start=1):
            _show(axes, np.zeros((1, 1)) if found is None else found[number])
        _show(column[-1], outline(label, truth, TRUTH_COLOR), below=f"IoU {pair.iou:.2f}")
    for axes, name in zip(grid[:, 0], rows, strict=True):
        axes.set_ylabel(name)
    sections = "training" if pairs["seen"].any() else "validation and test"
    caption = f"Of each observation the image with the median IoU; mean IoU of {len(pairs)} pairs of {sections} images"
    figure.supxlabel(f"{caption}: {pairs['iou'].mean():.3f}.\n{KEY} {_note(run.chexpert)}", fontsize=7)
    return figure


def _pretraining(folders: list[Path]) -> Figure:
    """A row a task: sheets of the most annotated images and the first seed, from scratch and after pre-training."""
    figure = Figure(figsize=(9, 1.9 * len(folders) + 0.4), layout="constrained")
    for axes, folder in zip(figure.subplots(len(folders), len(PRETRAINING), squeeze=False), folders, strict=True):
        cells = first_cells(folder)
        for panel, (cell, title) in zip(axes, PRETRAINING.items(), strict=True):
            sheet = read_sheet(folder, cells[cell]) if cell in cells else None
            if sheet is None:
                raise InputError(f"{folder} has no pictures of {'/'.join(cell)}; run doll compare with it.")
            _show(panel, sheet, f"{folder.name}: {title}")
    order = "the best, the median and the worst test image of each network by mean IoU"
    figure.supxlabel(f"From the left {order}. Ground truth: blue, prediction: dashed in orange.", fontsize=7)
    return figure


def _curves(folders: list[Path]) -> Figure:
    """A panel a task, of the most annotated images."""
    panels = {}
    for folder in folders:
        curves = read_curves(folder)
        title = f"{folder.name}: {curves['shots'].iloc[0]} annotated images, {curves['seed'].nunique()} seeds"
        panels[title] = curves
    return draw_curves(panels)


def _note(data: Path) -> str:
    """What the pictures are, of a folder of images."""
    synthetic = (data / "phantom.json").is_file()
    return f"Drawn from a run of ours on {'synthetic images' if synthetic else f'the images of {data.name}'}."


def _pictures(labels: Labels, image: LabeledImage, pair: Pair) -> tuple[np.ndarray, np.ndarray]:
    """An image (H, W, 3), and with the label of a pair: foreground tinted, ignored pixels dashed."""
    path, file = labels.folder.chexpert / image.image, labels.label(image.image)
    picture, label = read_picture(path, SIDE), read_mask(file, pair.channel)
    if picture is None or label is None:
        raise InputError(f"{path if picture is None else file} cannot be read; give the run's own images and labels.")
    return picture, outline(tint(picture, label == FOREGROUND), label == IGNORE, LABEL_COLOR, dashed=True)


def _show(axes: Axes, image: np.ndarray, title: str = "", below: str = "") -> None:
    axes.imshow(image)
    axes.set(xticks=[], yticks=[], title=title, xlabel=below)
    axes.spines[:].set_visible(False)
