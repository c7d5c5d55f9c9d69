"""Explanations of a classifier while an evaluator runs it: Integrated Gradients, Grad-CAM, gradient SHAP."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from captum.attr import GradientShap, LayerAttribution, LayerGradCam
from ignite.engine import Engine, Events
from monai.engines import IterationEvents
from monai.inferers import Inferer, SimpleInferer
from monai.networks.utils import eval_mode
from monai.utils import CommonKeys
from torch import nn

from doll_monai.attribution.integrated_gradients import path_gradient
from doll_monai.attribution.path import Path, path_through
from doll_monai.findings import FINDINGS, finding_index
from doll_monai.handlers.engine import output_of
from doll_monai.utils.errors import InputError, explained

UNLOCALIZED = ("No Finding",)
WIDTH = 2
"""Axis of a batch, (B, C, W, H), along which an image is mirrored."""
Explanation = tuple[torch.Tensor, Mapping[str, torch.Tensor]]
"""Maps (B, T, H, W), zero where not wanted, and what else is known of them by name, (B, T) each."""


class Explainer:
    """Adds explanations of the positive observations to the engine's output after each forward pass.

    For network k the output gains the maps ``{output_prefix}_k``, (B, T, H, W), zero where nothing was explained, and
    what else the method knows of them, such as ``n_steps_k``, (B, T).

    Args:
        networks: the K classifiers to explain, (B, 1, H, W) -> (B, T) logits; left as they were.
        output_prefix: name of the maps.
        unlocalized: observations that have no place in an image and are not explained.
        mirrored: whether the maps are means with those of the mirrored image, for classifiers trained on both.
    """

    def __init__(
        self, networks: Sequence[nn.Module], output_prefix: str, unlocalized: Sequence[str], mirrored: bool = False
    ) -> None:
        self.networks, self.mirrored = list(networks), mirrored
        self.output_prefix = output_prefix
        self.unlocalized = [finding_index(name) for name in unlocalized]

    def attach(self, engine: Engine) -> None:
        """Explain after each forward pass of the engine, before it post-processes."""
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        for number, (maps, known) in enumerate(self.explanations(engine, self.networks)):
            for name, value in {self.output_prefix: maps, **known}.items():
                output_of(engine)[f"{name}_{number}"] = value

    def explanations(self, engine: Engine, networks: Sequence[nn.Module]) -> Iterator[Explanation]:
        """What each of the networks says of the engine's current batch."""
        keys = (CommonKeys.IMAGE, CommonKeys.LABEL)
        image, label = (output_of(engine)[key].as_subclass(torch.Tensor) for key in keys)
        wanted = (label >= 0.5).to(image.device)
        if wanted.shape[1] == len(FINDINGS):
            wanted[:, self.unlocalized] = False
        for number, network in enumerate(networks):
            with eval_mode(network):
                explanation = self.explain(number, network, image, wanted)
                if self.mirrored:
                    maps, _ = self.explain(number, network, image.flip(WIDTH), wanted)
                    explanation = (explanation[0] + maps.flip(WIDTH)) / 2, explanation[1]
            if not bool(explanation[0].isfinite().all()):
                raise InputError(
                    f"The explanation of member {number} holds values that are no numbers; train it again."
                )
            yield explanation

    def explain(self, number: int, network: nn.Module, image: torch.Tensor, wanted: torch.Tensor) -> Explanation:
        """Explain the wanted targets, (B, T) bool, of images, (B, 1, H, W), by network ``number``."""
        raise NotImplementedError


class IntegratedGradientsHandler(Explainer):
    """Adds each member's path-averaged gradient, ``completeness_error_k`` and ``n_steps_k`` to the engine's output.

    It can be attached to the evaluator of any classifier with a 2-D gray input, whose weights stay the same within an
    epoch. The median completeness error of an epoch is the metric ``completeness_error``.

    Args:
        networks, unlocalized, mirrored: see ``Explainer``.
        inferer: runs the networks, for example an ``AutocastInferer``; must give logits.
        options: of ``path_gradient``: ``n_steps``, ``method``, ``baselines`` and so on.
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        inferer: Inferer | None = None,
        unlocalized: Sequence[str] = UNLOCALIZED,
        mirrored: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(networks, "attribution", unlocalized, mirrored)
        self.inferer, self.options = inferer or SimpleInferer(), options
        self._paths: dict[nn.Module, Path] = {}
        self._errors: list[torch.Tensor] = []

    def attach(self, engine: Engine) -> None:
        super().attach(engine)
        engine.add_event_handler(Events.EPOCH_STARTED, lambda: self._paths.clear())  # the weights may have changed
        engine.add_event_handler(Events.EPOCH_STARTED, self._errors.clear)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._report)

    def explain(self, number: int, network: nn.Module, image: torch.Tensor, wanted: torch.Tensor) -> Explanation:
        if network not in self._paths:
            self._paths[network] = path_through(network, image)
        result = path_gradient(self._paths[network], image, wanted, run=self.inferer, **self.options)
        if network in self.networks:
            self._errors.append(result.completeness_error[wanted].cpu())
        return result.gradient, {"completeness_error": result.completeness_error, "n_steps": result.n_steps}

    def _report(self, engine: Engine) -> None:
        errors = torch.cat([torch.empty(0), *self._errors])
        if len(errors):
            engine.state.metrics["completeness_error"] = float(errors.median())


class GradCAMHandler(Explainer):
    """Adds captum's Grad-CAM (Selvaraju et al. 2017) of each member, >= 0; MONAI's leaves its hooks in the network.

    Args:
        networks, output_prefix, unlocalized: see ``Explainer``.
        target_layers: name of the layer to explain, one for each network, such as ``layer4``.
    """

    @explained
    def __init__(
        self,
        networks: Sequence[nn.Module],
        target_layers: Sequence[str],
        output_prefix: str = "gradcam",
        unlocalized: Sequence[str] = UNLOCALIZED,
    ) -> None:
        super().__init__(networks, output_prefix, unlocalized)
        if len(target_layers) != len(self.networks):
            counts = f"{len(self.networks)} networks but {len(target_layers)} target layers"
            raise InputError(f"There are {counts} for Grad-CAM; name one layer for each member in gradcam_layers.")
        for number, (network, layer) in enumerate(zip(self.networks, target_layers, strict=True)):
            if layer not in dict(network.named_modules()):
                raise InputError(f"Member {number} has no layer '{layer}' for Grad-CAM; correct gradcam_layers.")
        self.target_layers = list(target_layers)

    def explain(self, number: int, network: nn.Module, image: torch.Tensor, wanted: torch.Tensor) -> Explanation:
        explainer = LayerGradCam(network, network.get_submodule(self.target_layers[number]))
        maps = image.new_zeros((*wanted.shape, *image.shape[2:]))
        for target in wanted.any(dim=0).nonzero().flatten().tolist():
            chosen = wanted[:, target]
            with torch.enable_grad():
                x = image[chosen].detach().requires_grad_()
                coarse = explainer.attribute(x, target, relu_attributions=True).detach()
            maps[chosen, target] = LayerAttribution.interpolate(coarse, image.shape[2:], "bilinear")[:, 0]
        return maps, {}


class GradientShapHandler(Explainer):
    """Adds captum's gradient SHAP (Lundberg and Lee 2017) of each member, and ``n_steps_k``, to the engine's output.

    It is the mean of gradients, each at a random point of the path from the baseline to the noisy image; like that of
    Integrated Gradients it is not yet multiplied by (input - baseline). Random numbers depend on ``seed``, the image's
    values and the member alone, not on batches or interruptions.

    Args:
        networks, unlocalized: see ``Explainer``.
        inferer: runs the networks, for example an ``AutocastInferer``; must give logits.
        n_samples: random samples of each image, which is explained alone.
        stdevs: standard deviation of the noise, in units of the normalized image.
        baselines: gray value of the uniform baseline image.
    """

    @explained
    def __init__(
        self,
        networks: Sequence[nn.Module],
        inferer: Inferer | None = None,
        unlocalized: Sequence[str] = UNLOCALIZED,
        n_samples: int = 16,
        stdevs: float = 0.1,
        baselines: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__(networks, "attribution", unlocalized)
        if n_samples < 1 or stdevs < 0:
            raise InputError(f"There must be noise samples of a width from 0 on, not {n_samples} of {stdevs}.")
        self.inferer, self.seed = inferer or SimpleInferer(), seed
        self.n_samples, self.stdevs, self.baselines = n_samples, float(stdevs), float(baselines)

    def explain(self, number: int, network: nn.Module, image: torch.Tensor, wanted: torch.Tensor) -> Explanation:
        explainer = GradientShap(lambda x: self.inferer(x, network), multiply_by_inputs=False)
        maps = image.new_zeros((*wanted.shape, *image.shape[2:]))
        for index, target in wanted.nonzero().tolist():
            one = image[index : index + 1].detach()
            baseline = torch.full_like(one, self.baselines)
            with _random_state(one, f"{self.seed}:{number}:"), torch.enable_grad():
                found = explainer.attribute(one, baseline, self.n_samples, self.stdevs, target)
            maps[index, target] = found[0, 0].detach()
        return maps, {"n_steps": self.n_samples * wanted.long()}


@contextmanager
def _random_state(image: torch.Tensor, salt: str) -> Iterator[None]:
    """Seed the global generators of torch and numpy, which captum draws from, and put them back afterwards."""
    digest = hashlib.sha256(salt.encode() + image.float().cpu().contiguous().numpy().tobytes())
    seed = int.from_bytes(digest.digest()[:4], "big")
    state = np.random.get_state()  # noqa: NPY002 - the one that captum uses
    with torch.random.fork_rng(devices=[image.device] if image.is_cuda else []):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(state)  # noqa: NPY002
