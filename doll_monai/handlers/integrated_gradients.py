"""Integrated Gradients of each member while an evaluator runs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from ignite.engine import Engine, Events
from monai.inferers import Inferer, SimpleInferer
from monai.utils import CommonKeys
from torch import nn

from doll_monai.attribution.integrated_gradients import path_gradient
from doll_monai.handlers.engine import output_of
from doll_monai.handlers.explainer import Explainer


class IntegratedGradientsHandler(Explainer):
    """Adds each member's path-averaged gradient, completeness error and steps to the engine's output.

    It can be attached to the evaluator of any classifier with a 2-D grey input. The output gains, for member k,
    ``{prefix}_k`` (B, T, H, W), ``completeness_error_k`` (B, T; NaN where a target was not explained) and
    ``n_steps_k`` (B, T; 0 there). The median completeness error of a run is the metric ``completeness_error``.

    Args:
        networks, output_prefix, target_key, image_key, unlocalized: see ``Explainer``.
        inferer: runs the networks, for example an ``AutocastInferer``; must give logits.
        n_steps: steps of the quadrature.
        method: ``nested``, ``gausslegendre`` or ``riemann_middle``.
        baselines: grey value of the uniform baseline image, in units of the normalized image.
        internal_batch_size: images times steps in one forward pass.
        engine: ``doll`` or ``captum``.
        tolerance, max_steps: when ``nested`` takes more steps, and how many at most.
        compile_network: compile each network first (``torch.compile``).
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        output_prefix: str = "attribution",
        target_key: str = CommonKeys.LABEL,
        image_key: str = CommonKeys.IMAGE,
        unlocalized: Sequence[str] = ("No Finding",),
        inferer: Inferer | None = None,
        n_steps: int = 50,
        method: str = "gausslegendre",
        baselines: float = 0.0,
        internal_batch_size: int = 64,
        engine: str = "doll",
        tolerance: float = 0.02,
        max_steps: int = 64,
        compile_network: bool = False,
    ) -> None:
        super().__init__(networks, output_prefix, target_key, image_key, unlocalized)
        self.inferer = inferer or SimpleInferer()
        self.n_steps = n_steps
        self.method = method
        self.baselines = baselines
        self.internal_batch_size = internal_batch_size
        self.engine = engine
        self.tolerance = tolerance
        self.max_steps = max_steps
        self.compile_network = compile_network
        self._errors: list[torch.Tensor] = []

    def attach(self, engine: Engine) -> None:
        """Explain after each forward pass; set the metric when the epoch ends."""
        super().attach(engine)
        engine.add_event_handler(Events.EPOCH_STARTED, self._errors.clear)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._report)

    def explain(
        self, engine: Engine, number: int, network: nn.Module, image: torch.Tensor, wanted: torch.Tensor
    ) -> None:
        """Add one member's path gradient."""
        result = path_gradient(
            network,
            image,
            wanted,
            baselines=self.baselines,
            n_steps=self.n_steps,
            method=self.method,
            internal_batch_size=self.internal_batch_size,
            engine=self.engine,
            tolerance=self.tolerance,
            max_steps=self.max_steps,
            compile_network=self.compile_network,
            run=self.inferer,
        )
        self._errors.append(result.completeness_error[wanted].cpu())
        output = output_of(engine)
        output[f"{self.output_prefix}_{number}"] = result.gradient
        output[f"completeness_error_{number}"] = result.completeness_error
        output[f"n_steps_{number}"] = result.n_steps

    def _report(self, engine: Engine) -> None:
        errors = torch.cat(self._errors) if self._errors else torch.empty(0)
        if len(errors):
            engine.state.metrics["completeness_error"] = float(errors.median())
