"""Curves as inline SVG that takes the color of the page's text."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from sklearn.metrics import auc, roc_curve

from doll_monai.findings import FINDINGS, IGNORED_TARGET
from doll_monai.transforms.observations import ObservationTargets
from doll_tools.report.drawing import ACCENT, STYLE, TEXT, VERMILLION, svg, thinned
from doll_tools.report.run_folder import RunFolder, relative_to

METRICS = {"auroc": "mean AUROC", "label_iou": "IoU with the labels", "dice": "Dice"}
"""Metrics of an epoch that are drawn, by their names in MLflow."""
MAX_POINTS = 200


@dataclass(frozen=True)
class Curve:
    """A drawing and what is said about it: inline SVG, heading and one line of text."""

    svg: str
    title: str
    caption: str


def roc_curves(folder: RunFolder) -> list[Curve]:
    """ROC curves of the test images, of the observations with both classes.

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
    targets[~np.isfinite(scores)] = IGNORED_TARGET
    drawn = []
    for name, score, target in zip(FINDINGS, scores.T, targets.T, strict=True):
        positive, score = target[target >= 0] >= 0.5, score[target >= 0]
        if 0 < positive.sum() < len(positive):
            false, true, _ = roc_curve(positive, score)
            caption = f"AUROC {auc(false, true):.3f}; {positive.sum()} of {len(positive)} images"
            drawn.append(Curve(_roc_svg(false, true, f"ROC curve of {name}, {caption}"), name, caption))
    return drawn


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
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(2, 2), layout="constrained")
        axes = figure.add_subplot(aspect="equal", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
        axes.plot([0, 1], [0, 1], color=TEXT, linewidth=0.6, linestyle=":")
        keep = thinned(len(false), MAX_POINTS)
        axes.plot(false[keep], true[keep], color=ACCENT, linewidth=1.6)
        axes.set(xlabel="false positive rate", ylabel="true positive rate", xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
        return svg(figure, text)


def _line_svg(steps: Sequence[float], values: Sequence[float], axis: str, text: str) -> str:
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3, 1.8), layout="constrained")
        axes = figure.add_subplot(xlabel=axis)
        color = ACCENT if axis == "epoch" else VERMILLION
        axes.plot(steps, values, color=color, linewidth=1.4, marker="o" if len(values) < 30 else "", markersize=2.5)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        return svg(figure, text)
