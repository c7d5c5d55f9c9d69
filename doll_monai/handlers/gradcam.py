"""Grad-CAM of each member while an evaluator runs, for comparison or as the source of labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from captum.attr import LayerAttribution, LayerGradCam
from torch import nn

from doll_monai.handlers.explainer import Explainer, Explanation
from doll_monai.utils.errors import InputError, explained


class GradCAMHandler(Explainer):
    """Adds Grad-CAM (Selvaraju et al. 2017) of each member to the engine's output; from 0, large means important.

    It is captum's, which takes its hooks off again; MONAI's stay in the network.

    Args:
        networks, output_prefix, explainer_arguments: see ``Explainer``.
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
        **explainer_arguments: Any,
    ) -> None:
        super().__init__(networks, output_prefix, **explainer_arguments)
        if len(target_layers) != len(self.networks):
            counts = f"{len(self.networks)} networks but {len(target_layers)} target layers"
            raise InputError(f"There are {counts} for Grad-CAM; name one layer for each member in gradcam_layers.")
        for number, (network, layer) in enumerate(zip(self.networks, target_layers, strict=True)):
            if layer not in dict(network.named_modules()):
                raise InputError(f"Member {number} has no layer '{layer}' for Grad-CAM; correct gradcam_layers.")
        self.target_layers = list(target_layers)

    def explain(self, number: int, network: nn.Module, image: torch.Tensor, wanted: torch.Tensor) -> Explanation:
        """One member's Grad-CAM."""
        explainer = LayerGradCam(network, network.get_submodule(self.target_layers[number]))
        maps = image.new_zeros((*wanted.shape, *image.shape[2:]))
        for target in wanted.any(dim=0).nonzero().flatten().tolist():
            chosen = wanted[:, target]
            with torch.enable_grad():
                x = image[chosen].detach().requires_grad_()
                coarse = explainer.attribute(x, target, relu_attributions=True).detach()
            maps[chosen, target] = LayerAttribution.interpolate(coarse, image.shape[2:], "bilinear")[:, 0]
        return maps, {}
