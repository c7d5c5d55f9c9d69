"""Curves as inline SVG that takes the colour of the page's text."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from doll_monai.findings import FINDINGS
from doll_monai.report.run_folder import RunFolder, relative_to
from doll_monai.transforms.observations import ObservationTargets

LOSS_COLOUR = "#D55E00"
"""Vermillion of the colour-blind-safe palette of Okabe and Ito (2008); the other curves take the page's blue."""
METRICS = {"auroc": "mean AUROC", "label_iou": "IoU with the labels", "dice": "Dice"}
"""Metrics of an epoch that are drawn, by their names in MLflow."""
MAX_POINTS = 200

_TEXT, _ACCENT = "#010203", "#010204"
"""Colours that ``_svg`` replaces by the page's own, which change with light and dark."""
_STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _TEXT,
    "axes.labelcolor": _TEXT,
    "axes.linewidth": 0.6,
    "xtick.color": _TEXT,
    "ytick.color": _TEXT,
    "text.color": _TEXT,
}


@dataclass(frozen=True)
class Curve:
    """A drawing and what is said about it: inline SVG, heading and one line of text."""

    svg: str
    title: str
    caption: str


def roc_curves(folder: RunFolder) -> list[Curve]:
    """ROC curves of the test films, of the observations with both classes.

    Unmentioned observations count as absent and uncertain ones are left out, as ``ObservationTargets`` has it.
    """
    rows = folder.rows("classifier/predictions.csv")
    labels = {record["image"]: record["label"] for record in folder.datalist("chexpert/dataset.json").get("test", [])}
    if rows is None or not labels or rows.shape[1] != len(FINDINGS) + 1:
        return []
    images = [relative_to(str(name), folder.chexpert) for name in rows[0]]
    known = [number for number, image in enumerate(images) if image in labels]
    if not known:
        return []
    targets = torch.stack([ObservationTargets()(labels[images[number]]) for number in known]).numpy()
    scores = rows.iloc[known, 1:].to_numpy(dtype=float)
    curves = []
    for channel, name in enumerate(FINDINGS):
        usable = (targets[:, channel] >= 0) & np.isfinite(scores[:, channel])
        truth, score = targets[usable, channel] >= 0.5, scores[usable, channel]
        if 0 < truth.sum() < len(truth):
            false, true = roc_points(score, truth)
            area = float(((true[1:] + true[:-1]) / 2 * np.diff(false)).sum())
            caption = f"AUROC {area:.3f}; {int(truth.sum())} of {len(truth)} films"
            curves.append(Curve(_roc_svg(false, true, f"ROC curve of {name}, {caption}"), name, caption))
    return curves


def roc_points(score: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rates at every distinct score, from (0, 0) to (1, 1).

    Args:
        score: (N,), larger where the observation is more likely.
        truth: (N,) bool with both values.
    """
    order = np.argsort(-score, kind="stable")
    last = np.append(np.diff(score[order]) != 0, True)
    true, false = np.cumsum(truth[order])[last], np.cumsum(~truth[order])[last]
    return np.append(0.0, false / false[-1]), np.append(0.0, true / true[-1])


def training_curves(folder: RunFolder) -> list[Curve]:
    """Loss and metrics of every training stage whose MLflow run is there."""
    curves = []
    for stage in folder.stages:
        for key, title in {"train_loss": "training loss", **METRICS}.items():
            steps, values = _history(str(folder.pipeline.get("mlflow") or ""), stage.get("run_id"), key)
            if len(values) > 1:
                caption = f"{values[0]:.3f} to {values[-1]:.3f}"
                name = f"{stage.get('name')}: {title}"
                axis = "iteration" if key == "train_loss" else "epoch"
                curves.append(Curve(_line_svg(steps, values, axis, f"{name}, {caption}"), name, caption))
    return curves


def _history(uri: str, run_id: str | None, key: str) -> tuple[list[float], list[float]]:
    """Steps and values of a metric, averaged to at most ``MAX_POINTS``; empty when the run is not there."""
    path = uri.removeprefix("sqlite:///")
    if not run_id or not uri or (path != uri and not Path(path).is_file()):
        return [], []
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    import mlflow  # takes seconds, and not every page has curves
    from mlflow.exceptions import MlflowException

    try:
        history = mlflow.MlflowClient(uri).get_metric_history(run_id, key)
    except MlflowException:
        return [], []
    points = np.array(sorted((metric.step, metric.value) for metric in history), dtype=float).reshape(-1, 2)
    points = points[np.isfinite(points).all(axis=1)]
    parts = np.array_split(points, min(MAX_POINTS, max(len(points), 1)))
    means = np.array([part.mean(axis=0) for part in parts if len(part)]).reshape(-1, 2)
    return means[:, 0].tolist(), means[:, 1].tolist()


def _roc_svg(false: np.ndarray, true: np.ndarray, text: str) -> str:
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(2, 2), layout="constrained")
        axes = figure.add_subplot(aspect="equal", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
        axes.plot([0, 1], [0, 1], color=_TEXT, linewidth=0.6, linestyle=":")
        keep = np.unique(np.linspace(0, len(false) - 1, MAX_POINTS).round().astype(int))
        axes.plot(false[keep], true[keep], color=_ACCENT, linewidth=1.6)
        axes.set(xlabel="false positive rate", ylabel="true positive rate", xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
        return _svg(figure, text)


def _line_svg(steps: Sequence[float], values: Sequence[float], axis: str, text: str) -> str:
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(3, 1.8), layout="constrained")
        axes = figure.add_subplot(xlabel=axis)
        colour = _ACCENT if axis == "epoch" else LOSS_COLOUR
        axes.plot(steps, values, color=colour, linewidth=1.4, marker="o" if len(values) < 30 else "", markersize=2.5)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        return _svg(figure, text)


def _svg(figure: Figure, text: str) -> str:
    """A figure as an ``<svg>`` element without background, in the page's colours."""
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": text}):
        empty = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=empty)
    drawing = buffer.getvalue()
    drawing = drawing[drawing.index("<svg") :].replace(_TEXT, "currentColor").replace(_ACCENT, "var(--accent)")
    label = text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return drawing.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
