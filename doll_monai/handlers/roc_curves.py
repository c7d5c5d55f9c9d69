"""ROC curves of an evaluation, one panel an observation."""

from __future__ import annotations

import io
import os

import numpy as np
from ignite.engine import Engine, Events
from matplotlib.figure import Figure
from monai.utils import CommonKeys

from doll_monai.findings import FINDINGS
from doll_monai.handlers.engine import output_of
from doll_monai.utils.atomic import write_atomic

COLUMNS = 4
CURVE = "#0072b2"
"""Blue of the color-blind-safe palette of Okabe and Ito (2008)."""


class RocCurves:
    """Writes the ROC curve of each observation that has both classes among its known targets.

    Args:
        path: PNG file to write when the run is complete; none is written when no observation has both classes.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = path
        self._predictions: list[np.ndarray] = []
        self._targets: list[np.ndarray] = []

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator with decollated output: ``pred`` (14,), and ``label`` (14,), negative if ignored."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def __call__(self, engine: Engine) -> None:
        for item in output_of(engine):
            self._predictions.append(np.asarray(item[CommonKeys.PRED].float().cpu()))
            self._targets.append(np.asarray(item[CommonKeys.LABEL].cpu()))

    def _start(self, _engine: Engine) -> None:
        self._predictions, self._targets = [], []

    def _write(self, _engine: Engine) -> None:
        curves = roc_curves(np.stack(self._predictions), np.stack(self._targets))
        if curves:
            write_atomic(self.path, draw_curves(curves))


def roc_curves(prediction: np.ndarray, target: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray, int]]:
    """ROC curves of the observations that have both classes.

    Args:
        prediction: (N, 14), higher where an observation is more likely.
        target: (N, 14), 0 or 1, negative where ignored.

    Returns:
        observation to (1 - specificity, sensitivity, number of images that have it), thresholds falling.
    """
    from sklearn.metrics import roc_curve  # takes a second, which other commands should not wait for

    curves = {}
    for channel, name in enumerate(FINDINGS):
        known = target[:, channel] >= 0
        truth = target[known, channel] >= 0.5
        if 0 < truth.sum() < len(truth):
            false, true, _ = roc_curve(truth, prediction[known, channel])
            curves[name] = (false, true, int(truth.sum()))
    return curves


def draw_curves(curves: dict[str, tuple[np.ndarray, np.ndarray, int]]) -> bytes:
    """A PNG with a panel for each curve; its title has the observation, the area under it, the number of positives."""
    from sklearn.metrics import auc

    rows = -(-len(curves) // COLUMNS)
    figure = Figure(figsize=(2.3 * COLUMNS, 2.4 * rows + 0.3), layout="constrained")
    for number, (name, (false, true, positives)) in enumerate(curves.items(), start=1):
        axes = figure.add_subplot(rows, COLUMNS, number, aspect="equal")
        axes.plot([0, 1], [0, 1], color="0.6", linestyle=":", linewidth=1)
        axes.plot(false, true, color=CURVE)
        axes.set_title(f"{name}\n{auc(false, true):.3f}, {positives} positive", fontsize=8)
        axes.tick_params(labelsize=7)
    figure.supxlabel("1 - specificity", fontsize=8)
    figure.supylabel("sensitivity", fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()
