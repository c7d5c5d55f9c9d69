"""The overview: the four stages, with one image of a run on its way through them."""

from __future__ import annotations

from functools import partial

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from doll_monai.findings import FINDINGS, FOREGROUND, IGNORE, finding_index
from doll_tools.figures.drawing import (
    BLUE,
    FAINT,
    FOREGROUND_COLOR,
    GREEN,
    MAP_COLORS,
    ORANGE,
    PURPLE,
    TEXT,
    VERMILLION,
    fill,
    hatch,
    trace,
)
from doll_tools.figures.overview_canvas import Canvas
from doll_tools.figures.overview_parts import OverviewParts, TaskPart
from doll_tools.figures.saving import STYLE, WIDTH
from doll_tools.figures.with_and_without import class_colors

HEIGHT = 6.4
"""Of the figure, in inches."""
FROZEN = "#B9B9B5"
MARKS = {1.0: "\N{BLACK SQUARE}", 0.0: "\N{WHITE SQUARE}", -1.0: "?", None: ""}
_STAGES = (BLUE, ORANGE, GREEN, VERMILLION)


def draw_overview(parts: OverviewParts) -> Figure:
    """Draw the overview of a run's parts."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, HEIGHT))
        canvas = Canvas(figure, 10 * WIDTH, 10 * HEIGHT)
        _classify(canvas, parts)
        _explain(canvas, parts)
        _pretrain(canvas, parts)
        _adapt(canvas, parts)
        canvas.text((99, 0.7), parts.note, size=6, color=FAINT, align="right")
    return figure


def _words(name: str) -> str:
    return name.replace("_", " ")


def _member_places(parts: OverviewParts) -> list[float]:
    """Heights of the members, whose boxes and maps stand beside each other."""
    count = len(parts.members)
    return [58.0 - 20.0 * (number + 0.5) / count for number in range(count)]


def _classify(canvas: Canvas, parts: OverviewParts) -> None:
    canvas.panel(1, 35, 44, 28, "1 Classify", _STAGES[0])
    canvas.pile((7.4, 48), 10, parts.images)
    canvas.text((7.8, 41), "images with\nimage labels", color=FAINT)
    for number, (name, target) in enumerate(zip(FINDINGS, parts.targets, strict=True)):
        y = 58.6 - 1.5 * number
        shown = name == parts.observation
        canvas.text((16.2, y), MARKS[target], size=7)
        canvas.text((17.4, y), name, size=6.8, align="left", weight="bold" if shown else "normal")
    canvas.text((15.6, 36.6), "\N{BLACK SQUARE} present   \N{WHITE SQUARE} absent   ? uncertain", 6.3, FAINT, "left")
    for y, (name, auroc) in zip(_member_places(parts), parts.members.items(), strict=True):
        words = _words(name) + ("" if auroc is None else f"\nAUROC {auroc:.2f} (val.)")
        canvas.box((38.6, y), 11, 4.6, words, _STAGES[0])
        canvas.arrow((30.4, 48), (33, y), _STAGES[0])
    if parts.committee_auroc is not None:
        canvas.text((39.6, 36.9), f"together {parts.committee_auroc:.2f}\non test images", size=7, color=FAINT)


def _explain(canvas: Canvas, parts: OverviewParts) -> None:
    canvas.panel(47, 35, 52, 28, "2 Explain", _STAGES[1])
    image, places = parts.images[0], _member_places(parts)
    size = min(17.0 / len(places), 8.6)
    for y, evidence in zip(places, parts.maps[:-1], strict=True):
        canvas.arrow((44.1, y), (51.3 - size / 2 + 1.2, y), _STAGES[1])
        canvas.picture((53.2, y), size, image, partial(_heat, evidence))
        canvas.arrow((53.2 + size / 2 + 0.3, y), (63.4, 48), _STAGES[1])
    canvas.text((54, 36.6), f"Integrated Gradients of\n{parts.observation}", color=FAINT)
    canvas.picture((69, 48), 10.5, image, partial(_heat, parts.maps[-1]))
    canvas.text((69, 40.9), "consensus", color=FAINT)
    canvas.arrow((74.6, 48), (79, 48), _STAGES[1])
    canvas.text((76.8, 49.6), "threshold", size=6.5, color=FAINT)
    label = parts.label[finding_index(parts.observation)]
    canvas.picture((87.4, 48.6), 16, image, partial(_label, label))
    canvas.text((87.4, 39.2), "DoLL", size=9, weight="bold")
    canvas.text((87.4, 36.9), "filled: foreground, hatched: ignored,\nrest: background", size=6.5, color=FAINT)


def _pretrain(canvas: Canvas, parts: OverviewParts) -> None:
    canvas.panel(1, 1.5, 48, 28.5, "3 Pre-train", _STAGES[2])
    image, channel = parts.images[0], finding_index(parts.observation)
    canvas.picture((6, 16), 7.6, image)
    canvas.arrow((10, 16), (11.6, 16), _STAGES[2])
    end = canvas.network(12, 16, (BLUE, GREEN, PURPLE))
    canvas.text((15.6, 9.9), "backbone", size=7, color=BLUE)
    canvas.text((21.7, 9.9), "decoder", size=7, color=GREEN)
    canvas.text((24.6, 22.2), "head", size=7, color=PURPLE)
    canvas.text((18.4, 7.6), "all trained, end to end", color=FAINT)
    canvas.arrow((end[0] + 0.3, 16), (end[0] + 2.2, 16), _STAGES[2])
    others = [image] * 3
    predicted = [partial(_prediction, parts.prediction[number]) for number in _channels(parts, channel)]
    labels = [partial(_label, parts.label[number]) for number in _channels(parts, channel)]
    canvas.pile((32, 15.5), 7, others, predicted, shift=0.6)
    canvas.text((32.4, 10), "prediction,\n14 channels", size=7, color=FAINT)
    canvas.text((38.2, 17.3), "loss", size=7, color=FAINT)
    canvas.route([(38.2, 16), (36.9, 16)], _STAGES[2])
    canvas.route([(38.2, 16), (39.5, 16)], _STAGES[2])
    canvas.pile((43.4, 15.5), 7, others, labels, shift=0.6)
    canvas.text((43.8, 10), "DoLL,\n14 channels", size=7, color=FAINT)
    canvas.route([(95.7, 48), (97.3, 48), (97.3, 32.5), (43.8, 32.5), (43.8, 21)], _STAGES[1])
    canvas.text((70, 33.5), f"labels of {parts.labeled:,} images", size=7.5, color=FAINT)
    canvas.route([(34.2, 35), (34.2, 32.5), (17, 32.5), (17, 20.2)], _STAGES[0])
    canvas.text((25.8, 33.5), f"weights of {_words(parts.backbone)}", size=7.5, color=FAINT)


def _channels(parts: OverviewParts, first: int) -> list[int]:
    """Three channels of a pile: the explained observation's, then others that are present, then any."""
    present = [number for number, target in enumerate(parts.targets) if target == 1 and number != first]
    rest = [number for number in range(len(FINDINGS)) if number not in (first, *present)]
    return [first, *present, *rest][:3]


def _adapt(canvas: Canvas, parts: OverviewParts) -> None:
    canvas.panel(52, 1.5, 47, 28.5, "4 Adapt to a task", _STAGES[3])
    colors = class_colors([task.classes for task in parts.tasks])
    shown = max(parts.tasks, key=lambda task: len(task.classes))
    images = [image for image, _ in shown.annotated]
    draws = [partial(_masks, masks, [colors[name] for name in shown.classes]) for _, masks in shown.annotated]
    canvas.pile((57.2, 15.5), 7.6, images, draws, shift=0.8)
    canvas.text((58, 9.3), f"{shown.shots} annotated images\na task", size=7.5, color=FAINT)
    canvas.arrow((63.4, 16), (65, 16), _STAGES[3])
    end = canvas.network(65.4, 16, (FROZEN, FROZEN, VERMILLION), adapters=VERMILLION)
    canvas.text((72, 9.9), "frozen, pre-trained", size=7, color=FAINT)
    canvas.text((72, 22.4), "adapters and head", size=7, color=VERMILLION)
    canvas.route([(18, 6.4), (18, 3.4), (71.6, 3.4), (71.6, 8.7)], _STAGES[2])
    canvas.text((50.5, 4.5), "pre-trained weights", size=7.5, color=FAINT)
    for y, task in zip(_task_places(parts.tasks), parts.tasks, strict=True):
        canvas.arrow((end[0] + 0.3, 16), (82.2, y), _STAGES[3])
        prediction = task.image.masks["doll"]
        draw = partial(_masks, prediction, [colors[name] for name in task.classes])
        canvas.picture((86.4, y), 7.6, task.picture, draw)
        canvas.text((90.7, y), "\n".join(task.classes), size=7.5, align="left", color=TEXT)


def _task_places(tasks: list[TaskPart]) -> list[float]:
    return [28.5 - 26.0 * (number + 0.5) / len(tasks) for number in range(len(tasks))]


def _heat(evidence: np.ndarray, axes: Axes) -> None:
    axes.imshow(evidence, cmap=MAP_COLORS, extent=(0, 1, 1, 0), aspect=axes.get_aspect(), interpolation="bilinear")


def _label(label: np.ndarray, axes: Axes) -> None:
    if (label == IGNORE).all():
        return
    fill(axes, label == FOREGROUND, FOREGROUND_COLOR, alpha=0.6)
    hatch(axes, label == IGNORE, FOREGROUND_COLOR)


def _prediction(mask: np.ndarray, axes: Axes) -> None:
    fill(axes, mask, FOREGROUND_COLOR, alpha=0.6)


def _masks(masks: np.ndarray, colors: list[str], axes: Axes) -> None:
    for mask, color in zip(masks, colors, strict=True):
        fill(axes, mask, color)
        trace(axes, mask, color, width=0.8)
