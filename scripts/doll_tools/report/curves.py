"""Curves as inline SVG that takes the colors of the page's text, in light and in dark."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import torch
from markupsafe import escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sklearn.metrics import auc, roc_curve

from doll_monai.findings import FINDINGS, IGNORED_TARGET
from doll_monai.transforms.observations import ObservationTargetsd
from doll_monai.utils.mlflow_store import open_store
from doll_tools.compare.curves import rendered
from doll_tools.report.labels import COLUMNS, TABLE
from doll_tools.report.run_folder import RunFolder, relative_to

TEXT, ACCENT = "#010203", "#010204"
"""Colors that ``svg`` replaces by the page's own, which change with light and dark."""
STYLE: Any = {
    "svg.fonttype": "none",
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 8,
    "axes.linewidth": 0.6,
    **dict.fromkeys(("axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "text.color"), TEXT),
}
METRICS = {"train_loss": "training loss", "auroc": "mean AUROC", "label_iou": "IoU with the labels", "dice": "Dice"}
"""Metrics of a training that are drawn, by their names in MLflow."""
MAX_POINTS = 200
MEASURES = {
    "completeness_error": ("Completeness error", "0 is best"),
    "agreement": ("Agreement of the members", "rank correlation of their maps; 1 is best, 0 is chance"),
}
"""Columns of the table of labels to title and how to read them."""
TAIL = 99.0
"""Percentile at which a distribution's axis ends: a few explanations that failed would hide all others."""


@dataclass(frozen=True)
class Curve:
    """A drawing and what is said about it: inline SVG, heading and one line of text."""

    svg: str
    title: str
    caption: str


def svg(figure: Figure, text: str) -> str:
    """A figure, drawn within ``STYLE``, as an ``<svg>`` element without background, in the page's colors.

    ``text`` is what a reader who does not see it is told; it must differ from figure to figure of a page.
    """
    drawing = rendered(figure, ("svg",), salt=text, transparent=True)["svg"].decode()
    drawing = drawing[drawing.index("<svg") :].replace(TEXT, "currentColor").replace(ACCENT, "var(--accent)")
    return drawing.replace("<svg", f'<svg role="img" aria-label="{escape(text)}"', 1)


def _axes(width: float, height: float, **values: Any) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot(**values)


@matplotlib.rc_context(STYLE)
def roc_curves(folder: RunFolder) -> list[Curve]:
    """ROC curves of the test images, of the observations with both classes.

    Unmentioned observations count as absent and uncertain ones are left out, as ``ObservationTargetsd`` has it.
    """
    rows = folder.table("classifier/predictions.csv", header=None)
    if rows is None or rows.shape[1] != len(FINDINGS) + 1:
        return []
    records = folder.records("chexpert/dataset.json")
    tested = {image: record["label"] for image, record in records.items() if record["section"] == "test"}
    images = rows[0].map(lambda name: relative_to(str(name), folder.chexpert))
    rows, images = rows[images.isin(list(tested))], images[images.isin(list(tested))]
    if rows.empty:
        return []
    targets = torch.stack([ObservationTargetsd()({"label": tested[image]})["label"] for image in images]).numpy()
    scores = rows.iloc[:, 1:].to_numpy(dtype=float)
    targets[~np.isfinite(scores)] = IGNORED_TARGET
    drawn = []
    for name, score, target in zip(FINDINGS, scores.T, targets.T, strict=True):
        positive, score = target[target >= 0] >= 0.5, score[target >= 0]
        if not 0 < positive.sum() < len(positive):
            continue
        false, true, _ = roc_curve(positive, score)
        caption = f"AUROC {auc(false, true):.3f}; {positive.sum()} of {len(positive)} images"
        figure, axes = _axes(2, 2, aspect="equal", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
        axes.plot([0, 1], [0, 1], color=TEXT, linewidth=0.6, linestyle=":")
        axes.plot(false, true, color=ACCENT, linewidth=1.6)
        axes.set(xlabel="false positive rate", ylabel="true positive rate", xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
        drawn.append(Curve(svg(figure, f"ROC curve of {name}, {caption}"), name, caption))
    return drawn


@matplotlib.rc_context(STYLE)
def training_curves(folder: RunFolder) -> list[Curve]:
    """Loss and metrics of every training stage whose MLflow run is there."""
    uri = str(folder.pipeline.get("mlflow") or "")
    path = uri.removeprefix("sqlite:///")
    if not uri or (path != uri and not Path(path).is_file()):
        return []
    client = open_store(uri)
    drawn = []
    for stage in folder.stages:
        for key, title in METRICS.items() if stage.get("run_id") else ():
            points = _history(client, stage["run_id"], key)
            if len(points) < 2:
                continue
            caption, name = f"{points[0, 1]:.3f} to {points[-1, 1]:.3f}", f"{stage.get('name')}: {title}"
            axis, color = ("iteration", "#D55E00") if key == "train_loss" else ("epoch", ACCENT)
            figure, axes = _axes(3, 1.8, xlabel=axis)
            axes.plot(*points.T, color=color, linewidth=1.4, marker="o" if len(points) < 30 else "", markersize=2.5)
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            drawn.append(Curve(svg(figure, f"{name}, {caption}"), name, caption))
    return drawn


def _history(client: MlflowClient, run_id: str, key: str) -> np.ndarray:
    """Steps and values of a metric, (N, 2), averaged to at most ``MAX_POINTS``; empty when the run is not there."""
    try:
        history = client.get_metric_history(run_id, key)
    except MlflowException:
        history = []
    points = pd.DataFrame([(metric.step, metric.value) for metric in history], columns=["step", "value"])
    points = points.replace([np.inf, -np.inf], np.nan).dropna().sort_values("step", ignore_index=True)
    return points.groupby(points.index * MAX_POINTS // max(len(points), MAX_POINTS)).mean().to_numpy()


@matplotlib.rc_context(STYLE)
def distributions(folder: RunFolder) -> list[Curve]:
    """How the quality of the labels is spread: a histogram of all pairs, and a box for each observation."""
    table = folder.table(TABLE, COLUMNS)
    drawn = []
    for column, (title, reading) in MEASURES.items():
        known = table[np.isfinite(table[column].astype(float))] if table is not None and column in table else None
        if known is None or known.empty:
            continue
        values = known[column].to_numpy(dtype=float)
        ends = (min(0.0, float(values.min())), max(float(np.percentile(values, TAIL)), 1e-6))
        low, median, high = np.percentile(values, (25, 50, 75))
        caption = f"median {median:.3f}, half of the {len(values):,} pairs from {low:.3f} to {high:.3f}; {reading}"
        beyond = int((values > ends[1]).sum())
        caption += f"; {beyond} beyond the right end" if beyond else ""
        figure, axes = _axes(3.4, 2.2, xlim=ends, ylabel="pairs")
        axes.hist(values, bins=40, range=ends, color=ACCENT)
        axes.axvline(median, color=TEXT, linewidth=1, linestyle="--")
        drawn.append(Curve(svg(figure, f"Histogram of {title.lower()}: {caption}"), title, caption))
        names = known["observation"].to_numpy()
        parts = {name: values[names == name] for name in FINDINGS if name in names}
        figure, axes = _axes(3.4, 0.6 + 0.17 * len(parts), xlim=ends)
        box: Any = {"boxprops": {"facecolor": ACCENT}, "medianprops": {"color": TEXT}, "patch_artist": True}
        box |= {"orientation": "horizontal", "widths": 0.6, "whis": (5, 95), "showfliers": False}
        labels = [f"{name} ({len(part)})" for name, part in parts.items()]
        axes.boxplot(list(parts.values()), tick_labels=labels, **box)
        axes.invert_yaxis()
        medians = ", ".join(f"{name} {np.median(part):.3f}" for name, part in parts.items())
        name = f"{title} by observation"
        caption = "box: quartiles and median; whiskers: 5th and 95th percentile; number of pairs"
        drawn.append(Curve(svg(figure, f"{name}, medians: {medians}"), name, caption))
    return drawn
