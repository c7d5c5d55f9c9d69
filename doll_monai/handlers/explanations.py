"""Handlers that explain a classifier's decisions while an evaluator runs it."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from ignite.engine import Engine, Events
from monai.data import MetaTensor
from monai.engines import IterationEvents
from monai.inferers import Inferer, SimpleInferer
from monai.utils import CommonKeys
from monai.visualize import GradCAM
from torch import nn

from doll_monai.attribution import path_gradient
from doll_monai.findings import FINDINGS, finding_index

from .engine import output_of


class _Explainer:
    """What explaining handlers share: which targets, which networks, and how to leave the networks as they were.

    Args:
        networks: the K classifiers to explain, (B, 1, H, W) -> (B, T) logits.
        output_prefix: results are ``{prefix}_0`` ... ``{prefix}_{K-1}`` in the engine's output, (B, T, H, W).
        target_key: (B, T) targets; those from 0.5 on are explained.
        image_key: (B, 1, H, W) images.
        unlocalised: observations that have no place in an image and are not explained.
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        output_prefix: str,
        target_key: str = CommonKeys.LABEL,
        image_key: str = CommonKeys.IMAGE,
        unlocalised: Sequence[str] = ("No Finding",),
    ) -> None:
        self.networks = list(networks)
        self.output_prefix = output_prefix
        self.target_key = target_key
        self.image_key = image_key
        self.unlocalised = [finding_index(name) for name in unlocalised]

    def attach(self, engine: Engine) -> None:
        """Explain after each forward pass of the engine, before it post-processes."""
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        image = output_of(engine)[self.image_key]
        image = image.as_tensor() if isinstance(image, MetaTensor) else image
        wanted = output_of(engine)[self.target_key] >= 0.5
        if wanted.shape[1] == len(FINDINGS):
            wanted[:, self.unlocalised] = False
        for number, network in enumerate(self.networks):
            with _frozen(network):
                self.explain(engine, number, network, image, wanted.to(image.device))

    def explain(
        self, engine: Engine, number: int, network: nn.Module, image: torch.Tensor, wanted: torch.Tensor
    ) -> None:
        """Add one member's explanation to the engine's output."""
        raise NotImplementedError


@contextmanager
def _frozen(network: nn.Module) -> Iterator[None]:
    """Evaluation mode and parameters without gradients; both as before afterwards."""
    modes = [(module, module.training) for module in network.modules()]
    needed = [parameter for parameter in network.parameters() if parameter.requires_grad]
    network.eval()
    for parameter in needed:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in needed:
            parameter.requires_grad_(True)
        for module, training in modes:
            module.training = training


class IntegratedGradientsHandler(_Explainer):
    """Adds each member's path-averaged gradient, completeness error and steps to the engine's output.

    It can be attached to the evaluator of any classifier with a 2-D grey input. The output gains, for member k,
    ``{prefix}_k`` (B, T, H, W), ``completeness_error_k`` (B, T; NaN where a target was not explained) and
    ``n_steps_k`` (B,). The median completeness error of the run is the engine's metric ``completeness_error``.

    Args:
        networks, output_prefix, target_key, image_key, unlocalised: see above.
        inferer: runs the networks, for example an ``AutocastInferer``; must give logits.
        n_steps: steps of the quadrature.
        method: ``gausslegendre`` or ``riemann_middle``.
        baselines: grey value of the uniform baseline image, in units of the normalised film.
        internal_batch_size: images times steps in one forward pass.
        engine: ``doll`` or ``captum``.
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        output_prefix: str = "attribution",
        target_key: str = CommonKeys.LABEL,
        image_key: str = CommonKeys.IMAGE,
        unlocalised: Sequence[str] = ("No Finding",),
        inferer: Inferer | None = None,
        n_steps: int = 50,
        method: str = "gausslegendre",
        baselines: float = 0.0,
        internal_batch_size: int = 64,
        engine: str = "doll",
    ) -> None:
        super().__init__(networks, output_prefix, target_key, image_key, unlocalised)
        self.inferer = inferer or SimpleInferer()
        self.n_steps = n_steps
        self.method = method
        self.baselines = baselines
        self.internal_batch_size = internal_batch_size
        self.engine = engine
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
            lambda x: self.inferer(x, network),
            image,
            wanted,
            baselines=self.baselines,
            n_steps=self.n_steps,
            method=self.method,
            internal_batch_size=self.internal_batch_size,
            engine=self.engine,
        )
        self._errors.append(result.completeness_error[wanted].cpu())
        output = output_of(engine)
        output[f"{self.output_prefix}_{number}"] = result.gradient
        output[f"completeness_error_{number}"] = result.completeness_error
        output[f"n_steps_{number}"] = torch.full((len(image),), result.n_steps)

    def _report(self, engine: Engine) -> None:
        errors = torch.cat(self._errors) if self._errors else torch.empty(0)
        if len(errors):
            engine.state.metrics["completeness_error"] = float(errors.median())


class GradCAMHandler(_Explainer):
    """Adds MONAI's Grad-CAM of each member to the engine's output, for comparison; large means important.

    Args:
        networks, output_prefix, target_key, image_key, unlocalised: see ``IntegratedGradientsHandler``.
        target_layers: name of the layer to explain, one for each network, such as ``layer4``.
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        target_layers: Sequence[str],
        output_prefix: str = "gradcam",
        target_key: str = CommonKeys.LABEL,
        image_key: str = CommonKeys.IMAGE,
        unlocalised: Sequence[str] = ("No Finding",),
    ) -> None:
        super().__init__(networks, output_prefix, target_key, image_key, unlocalised)
        if len(target_layers) != len(self.networks):
            raise ValueError(f"There are {len(self.networks)} networks but {len(target_layers)} target layers.")
        self.target_layers = list(target_layers)
        self._explainers: dict[int, GradCAM] = {}

    def _explainer(self, number: int, network: nn.Module) -> GradCAM:
        """Grad-CAM of a copy of the network, since its hooks cannot be taken off again."""
        if number not in self._explainers:
            # MONAI's default post-processing inverts the map
            self._explainers[number] = GradCAM(
                copy.deepcopy(network), self.target_layers[number], postprocessing=lambda x: x
            )
        explainer = self._explainers[number]
        explainer.nn_module.model.load_state_dict(network.state_dict())
        return explainer

    def explain(
        self, engine: Engine, number: int, network: nn.Module, image: torch.Tensor, wanted: torch.Tensor
    ) -> None:
        """Add one member's Grad-CAM."""
        explainer = self._explainer(number, network)
        maps = image.new_zeros((*wanted.shape, *image.shape[2:]))
        with torch.enable_grad():
            for target in wanted.any(dim=0).nonzero().flatten().tolist():
                chosen = wanted[:, target]
                x = image[chosen].detach().clone().requires_grad_()
                maps[chosen, target] = explainer(x, class_idx=target)[:, 0].detach()
        output_of(engine)[f"{self.output_prefix}_{number}"] = maps
