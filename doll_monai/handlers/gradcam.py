"""Grad-CAM of each member while an evaluator runs, for comparison or as the source of labels."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from ignite.engine import Engine
from monai.utils import CommonKeys
from monai.visualize import GradCAM
from torch import nn

from doll_monai.handlers.engine import output_of
from doll_monai.handlers.explainer import Explainer
from doll_monai.utils.errors import InputError, explained


class GradCAMHandler(Explainer):
    """Adds MONAI's Grad-CAM of each member to the engine's output; large means important.

    Args:
        networks, output_prefix, target_key, image_key, unlocalized: see ``Explainer``.
        target_layers: name of the layer to explain, one for each network, such as ``layer4``.

    Raises:
        InputError: when there are not as many layers as networks, or a network has no layer of the name.
    """

    @explained
    def __init__(
        self,
        networks: Sequence[nn.Module],
        target_layers: Sequence[str],
        output_prefix: str = "gradcam",
        target_key: str = CommonKeys.LABEL,
        image_key: str = CommonKeys.IMAGE,
        unlocalized: Sequence[str] = ("No Finding",),
    ) -> None:
        super().__init__(networks, output_prefix, target_key, image_key, unlocalized)
        if len(target_layers) != len(self.networks):
            raise InputError(
                f"There are {len(self.networks)} networks but {len(target_layers)} target layers for Grad-CAM; "
                "name one layer for each member in gradcam_layers."
            )
        for number, (network, layer) in enumerate(zip(self.networks, target_layers, strict=True)):
            if layer not in dict(network.named_modules()):
                raise InputError(f"Member {number} has no layer '{layer}' for Grad-CAM; correct gradcam_layers.")
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
        self.without_completeness(engine, number, wanted, n_steps=0)
