"""Integrated Gradients of each member while an evaluator runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.inferers import Inferer, SimpleInferer
from torch import nn

from doll_monai.attribution.integrated_gradients import path_gradient
from doll_monai.attribution.path import Path, path_through
from doll_monai.handlers.explainer import Explainer, Explanation


class IntegratedGradientsHandler(Explainer):
    """Adds each member's path-averaged gradient, ``completeness_error_k`` and ``n_steps_k`` to the engine's output.

    It can be attached to the evaluator of any classifier with a 2-D gray input, whose weights stay the same within an
    epoch. The median completeness error of an epoch is the metric ``completeness_error``.

    Args:
        networks, explainer_arguments: see ``Explainer``.
        inferer: runs the networks, for example an ``AutocastInferer``; must give logits.
        baselines: gray value of the uniform baseline image, in units of the normalized image.
        n_steps, method, internal_batch_size, engine, tolerance, max_steps: see ``path_gradient``.
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        inferer: Inferer | None = None,
        n_steps: int = 50,
        method: str = "gausslegendre",
        baselines: float = 0.0,
        internal_batch_size: int = 64,
        engine: str = "doll",
        tolerance: float = 0.02,
        max_steps: int = 64,
        **explainer_arguments: Any,
    ) -> None:
        super().__init__(networks, **explainer_arguments)
        self.inferer = inferer or SimpleInferer()
        self.options: dict[str, Any] = {"n_steps": n_steps, "method": method, "baselines": baselines, "engine": engine}
        self.options |= {"internal_batch_size": internal_batch_size, "tolerance": tolerance, "max_steps": max_steps}
        self._paths: dict[nn.Module, Path] = {}
        self._errors: list[torch.Tensor] = []

    def attach(self, engine: Engine) -> None:
        """Explain after each forward pass; set the metric when the epoch ends."""
        super().attach(engine)
        engine.add_event_handler(Events.EPOCH_STARTED, self._forget)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._report)

    def explain(self, number: int, network: nn.Module, image: torch.Tensor, wanted: torch.Tensor) -> Explanation:
        """One member's path gradient."""
        if network not in self._paths:
            self._paths[network] = path_through(network)
        result = path_gradient(self._paths[network], image, wanted, run=self.inferer, **self.options)
        if network in self.networks:
            self._errors.append(result.completeness_error[wanted].cpu())
        return result.gradient, {"completeness_error": result.completeness_error, "n_steps": result.n_steps}

    def _forget(self) -> None:
        """The weights may have changed since the last epoch."""
        self._paths.clear()
        self._errors.clear()

    def _report(self, engine: Engine) -> None:
        errors = torch.cat([torch.empty(0), *self._errors])
        if len(errors):
            engine.state.metrics["completeness_error"] = float(errors.median())
