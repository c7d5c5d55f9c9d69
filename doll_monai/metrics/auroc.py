"""Area under the ROC curve, for each observation and on average."""

from __future__ import annotations

from collections.abc import Callable

import torch
from ignite.engine import Engine
from monai.handlers import IgniteMetricHandler
from monai.metrics import ROCAUCMetric, compute_roc_auc

from doll_monai.findings import FINDINGS


class MeanAUROC(IgniteMetricHandler):
    """Mean over the observations that have both classes among the known targets, NaN when none has.

    MONAI's ``ROCAUC`` averages to NaN as soon as one observation has one class only. Here it is left out; the others
    are the engine's metrics ``{name}_{observation}``, ``{name}_observations`` of them.

    Args:
        output_transform: engine output to (logits or probabilities, targets), each (B, T) or a sequence of B
            tensors (T,); targets are negative where ignored.
    """

    def __init__(self, output_transform: Callable = lambda output: output) -> None:
        super().__init__(ROCAUCMetric(), output_transform=output_transform, save_details=False)
        self._values: dict[str, float] = {}

    def compute(self) -> float:
        """The mean over everything seen so far, of all processes."""
        self._values = auroc_by_observation(*self.metric_fn.get_buffer())
        return sum(self._values.values()) / len(self._values) if self._values else float("nan")

    def completed(self, engine: Engine, name: str) -> None:
        """Set the mean, the observations' values and their number as metrics of the engine."""
        super().completed(engine, name)
        engine.state.metrics[f"{name}_observations"] = len(self._values)
        for observation, value in self._values.items():
            engine.state.metrics[f"{name}_{observation.replace(' ', '_')}"] = value


def auroc_by_observation(prediction: torch.Tensor, target: torch.Tensor) -> dict[str, float]:
    """Args: prediction, target: (N, 14). Returns: observation to AUROC, those alone that have both classes."""
    values = {}
    for name, scores, targets in zip(FINDINGS, prediction.float().cpu().T, target.cpu().T, strict=True):
        truth = (targets[targets >= 0] >= 0.5).float()
        if len(truth.unique()) == 2:
            values[name] = float(torch.as_tensor(compute_roc_auc(scores[targets >= 0], truth)))
    return values
