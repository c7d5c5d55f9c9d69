"""DoLLs beside the ground truth: a column an observation, with the maps of the members where the run kept them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from doll_monai.data.label_maps import read_map_sheet
from doll_monai.findings import FINDINGS
from doll_monai.transforms.pictures import read_mask
from doll_monai.utils.errors import InputError
from doll_monai.visualize.pictures import TRUTH_COLOR, outline
from doll_tools.report.figures.drawing import KEY, labeled, mask_of, note_of, picture_of, show
from doll_tools.report.labels import LabeledImage, Labels, Pair
from doll_tools.report.run_folder import RunFolder

COLUMNS = 6
"""Observations shown, those with the most images."""
Found = tuple[LabeledImage, Pair]


def scored_pairs(labels: Labels) -> tuple[str, list[Found]]:
    """The sections shown, and their pairs with label and ground truth (``InputError`` without any), with their IoU.

    Images that the classifiers were not trained on, if there are any.
    """
    found: list[Found] = []
    for image in labels.images():
        if labels.known(image.image):
            label = read_mask(labels.label(image.image))
            if label is not None:
                labels.score(image, label)
                found += [(image, pair) for pair in image.pairs if pair.iou is not None]
    unseen = [item for item in found if item[0].section != "training"]
    if not found:
        raise InputError(f"No image of {labels.folder.root} has both a label and ground truth.")
    return ("validation and test", unseen) if unseen else ("training", found)


def median_pairs(pairs: Sequence[Found], count: int = COLUMNS) -> list[Found]:
    """The pair with the median IoU (of an even number the lower) of each of the ``count`` observations with most pairs.

    Each has an image of its own: one that is taken gives way to the next lower IoU.
    """
    by_name = {name: [item for item in pairs if item[1].observation == name] for name in FINDINGS}
    most = sorted(FINDINGS, key=lambda name: -len(by_name[name]))[:count]
    chosen: list[Found] = []
    for name in (name for name in FINDINGS if name in most and by_name[name]):
        order = sorted(by_name[name], key=lambda item: (item[1].iou or 0.0, item[0].image))
        half = order[(len(order) - 1) // 2 :: -1]
        used = {item[0].image for item in chosen}
        chosen.append(next((item for item in half if item[0].image not in used), half[0]))
    return chosen


def member_maps(labels: Labels, image: str, observation: str, sources: int) -> list[np.ndarray]:
    """The members' maps of an image, (h, w) each, and first their mean; [] where the run did not keep them."""
    path = labels.maps(image)
    maps = read_map_sheet(path, sources).get(observation) if path.is_file() else None
    return [] if maps is None else list(maps)


def draw_labels(run: RunFolder) -> Figure:
    """The figure of a run whose images have ground truth."""
    labels = Labels(run)
    sections, pairs = scored_pairs(labels)
    shown = median_pairs(pairs)
    members = [str(name) for name in run.pipeline.get("members") or []]
    maps = [member_maps(labels, image.image, pair.observation, 1 + len(members)) for image, pair in shown]
    rows = ["image and ground truth", *(f"map of {name}" for name in members if any(maps)), "DoLL and ground truth"]
    figure = Figure(figsize=(1.7 * len(shown), 1.8 * len(rows) + 0.4), layout="constrained")
    grid = figure.subplots(len(rows), len(shown), squeeze=False)
    for column, (image, pair), kept in zip(grid.T, shown, maps, strict=True):
        picture = picture_of(run.chexpert / image.image)
        truth = labels.truth_masks(image.image, picture.shape)[pair.channel]
        show(column[0], outline(picture, truth, TRUTH_COLOR), title=pair.observation)
        for axes, evidence in zip(column[1:-1], kept[1:] or [np.zeros((1, 1))] * (len(rows) - 2), strict=True):
            show(axes, evidence)
        label = labeled(picture, mask_of(labels.label(image.image))[pair.channel])
        show(column[-1], outline(label, truth, TRUTH_COLOR), below=f"IoU {pair.iou:.2f}")
    for axes, name in zip(grid[:, 0], rows, strict=True):
        axes.set_ylabel(name)
    mean = np.mean([pair.iou for _, pair in pairs])
    caption = f"Of each observation the image with the median IoU; mean IoU of {len(pairs)} pairs of {sections} images"
    figure.supxlabel(f"{caption}: {mean:.3f}.\n{KEY} {note_of(run.chexpert)}", fontsize=7)
    return figure
