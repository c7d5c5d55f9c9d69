"""Area under the ROC curve, for each observation and on average."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import ignite.distributed as idist
import torch
from ignite.engine import Engine
from ignite.metrics import Metric
from monai.metrics import compute_roc_auc

from doll_monai.findings import FINDINGS


class MeanAUROC(Metric):
    """Mean over the observations that have both classes among the known targets.

    MONAI's ``ROCAUC`` averages to NaN as soon as one observation has one class only. Here it is left out; the others
    are the engine's metrics ``{name}_{observation}``, ``{name}_observations`` of them.

    Args:
        output_transform: engine output to (logits or probabilities, targets), each (B, T) or a sequence of B
            tensors (T,); targets are negative where ignored.
    """

    def __init__(self, output_transform: Callable = lambda output: output) -> None:
        super().__init__(output_transform=output_transform)

    def reset(self) -> None:
        """Forget all predictions."""
        self._predictions: list[torch.Tensor] = []
        self._targets: list[torch.Tensor] = []

    def update(self, output: tuple[Sequence[torch.Tensor], Sequence[torch.Tensor]]) -> None:
        """Take a batch of predictions and targets."""
        prediction, target = (torch.stack([torch.as_tensor(row) for row in rows]) for rows in output)
        self._predictions.append(prediction.detach().float().cpu())
        self._targets.append(target.detach().float().cpu())

    def compute(self) -> float:
        """The mean, NaN when no observation has both classes."""
        values = self.by_observation()
        return sum(values.values()) / len(values) if values else float("nan")

    def by_observation(self) -> dict[str, float]:
        """Observation to AUROC over everything seen so far, of all processes."""
        if not self._predictions:
            return {}
        prediction = idist.all_gather(torch.cat(self._predictions).to(idist.device())).cpu()  # type: ignore[union-attr]
        target = idist.all_gather(torch.cat(self._targets).to(idist.device())).cpu()  # type: ignore[union-attr]
        return auroc_by_observation(prediction, target)

    def completed(self, engine: Engine, name: str) -> None:
        """Set the mean, the observations' values and their number as metrics of the engine."""
        super().completed(engine, name)
        values = self.by_observation()
        engine.state.metrics[f"{name}_observations"] = len(values)
        for observation, value in values.items():
            engine.state.metrics[f"{name}_{observation.replace(' ', '_')}"] = value


def auroc_by_observation(prediction: torch.Tensor, target: torch.Tensor) -> dict[str, float]:
    """Args: prediction, target: (N, 14). Returns: observation to AUROC, those alone that have both classes."""
    values = {}
    for channel, name in enumerate(FINDINGS):
        known = target[:, channel] >= 0
        truth = (target[known, channel] >= 0.5).float()
        if len(truth.unique()) == 2:
            values[name] = float(torch.as_tensor(compute_roc_auc(prediction[known, channel], truth)))
    return values
