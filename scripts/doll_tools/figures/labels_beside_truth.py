"""DoLLs beside the known places: a column an image, below it the members' maps and the label that they give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from doll_monai.data.ground_truth import GroundTruth
from doll_monai.findings import FOREGROUND, IGNORE, finding_index
from doll_monai.utils.errors import InputError
from doll_tools.figures.drawing import (
    FOREGROUND_COLOR,
    MAP_COLORS,
    TRUTH_COLOR,
    fill,
    hatch,
    image_picture,
    iou,
    show,
    trace,
)
from doll_tools.figures.foot import draw_foot, figure_with_foot
from doll_tools.figures.label_pairs import Pair, label_of, truth_mask, truth_of
from doll_tools.figures.saving import STYLE, WIDTH
from doll_tools.report.run_folder import RunFolder


def draw_labels_beside_truth(
    run: RunFolder, pairs: Sequence[Pair], maps: Mapping[str, np.ndarray], caption: str
) -> Figure:
    """The figure.

    Args:
        run: the run.
        pairs: what is shown.
        maps: image to its maps (K + 1, 14, H, W), those of the K members and the consensus; empty for none.
        caption: line below.
    """
    truth = truth_of(run)
    members = list(run.pipeline.get("members") or []) if maps else []
    names = ["image and truth", *(f"map of {name}" for name in members), "DoLL and truth"]
    with matplotlib.rc_context(STYLE):
        side = WIDTH / max(len(pairs), 4)
        figure = figure_with_foot(1.13 * side * len(names) + 0.2, caption)
        grid = figure.subplots(len(names), len(pairs), squeeze=False)
        for axes, name in zip(grid[:, 0], names, strict=True):
            axes.set_ylabel(name, fontsize=9)
        for column, pair in zip(grid.T, pairs, strict=True):
            _draw_column(column, run, truth, pair, maps.get(pair.image))
        marks: list[Artist] = [
            Patch(facecolor=FOREGROUND_COLOR, alpha=0.6, label="label: foreground"),
            Patch(facecolor="none", edgecolor=FOREGROUND_COLOR, hatch="/////", linewidth=0, label="ignored"),
            Line2D([], [], color=TRUTH_COLOR, linewidth=1.5, label="truth"),
        ]
        draw_foot(figure, marks, caption)
    return figure


def map_iou(evidence: np.ndarray, pixels: int, truth: np.ndarray) -> float:
    """IoU of the brightest pixels of a map with the truth.

    Args:
        evidence: (H, W).
        pixels: how many are taken, as many as are the label's foreground; equal ones in their order by columns, as
            labels are made.
        truth: (H, W) bool.
    """
    flat = np.zeros(evidence.size, dtype=bool)
    flat[np.argsort(-evidence.T.ravel(), kind="stable")[:pixels]] = True
    return iou(flat.reshape(evidence.T.shape).T, truth)


def _draw_column(
    column: Sequence[Axes], run: RunFolder, truth: GroundTruth, pair: Pair, maps: np.ndarray | None
) -> None:
    picture = image_picture(run.chexpert / pair.image)
    channel = finding_index(pair.observation)
    label = label_of(run, pair.image)[channel]
    place = truth_mask(truth, run.chexpert / pair.image, channel, (label.shape[0], label.shape[1]))
    if place is None:
        raise InputError(f"The place of {pair.observation} in {pair.image} is not known.")
    fine = truth_mask(truth, run.chexpert / pair.image, channel, (picture.shape[0], picture.shape[1]))
    column[0].set_title(pair.observation, fontsize=9, fontweight="bold")
    for axes in column:
        show(axes, picture, square=True)
        trace(axes, place if fine is None else fine, TRUTH_COLOR)
    if maps is not None:
        pixels = int(np.count_nonzero(label == FOREGROUND))
        for axes, evidence in zip(column[1:-1], maps[:-1, channel], strict=True):
            axes.imshow(evidence, cmap=MAP_COLORS, extent=(0, 1, 1, 0), aspect=axes.get_aspect())
            axes.set_xlabel(f"IoU {map_iou(evidence, pixels, place):.2f}")
    fill(column[-1], label == FOREGROUND, FOREGROUND_COLOR)
    hatch(column[-1], label == IGNORE, FOREGROUND_COLOR)
    column[-1].set_xlabel(f"IoU {pair.iou:.2f}")
