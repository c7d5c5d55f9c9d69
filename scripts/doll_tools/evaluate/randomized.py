"""Model-randomization sanity check (Adebayo et al. 2018): explanations of randomized networks beside the real ones."""

from __future__ import annotations

import copy

import torch
from ignite.engine import Engine
from monai.engines import IterationEvents
from torch import nn

from doll_monai.handlers.engine import output_of
from doll_monai.handlers.explanations import Explainer


class RandomizedExplainer:
    """Adds what an explainer would say of the same networks with all parameters drawn anew (``randomize``).

    Only maps are added, ``randomized_0`` ... ``randomized_{K-1}``, (B, T, H, W). The networks are copied when the first
    image comes.

    Args:
        explainer: a handler such as ``IntegratedGradientsHandler``.
        seed: of the parameters; member k takes ``seed + k``.
    """

    def __init__(self, explainer: Explainer, seed: int = 0) -> None:
        self.explainer, self.seed = explainer, seed
        self._networks: list[nn.Module] = []

    def attach(self, engine: Engine) -> None:
        """Explain after each forward pass of the engine, before it post-processes."""
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        if not self._networks:
            copies = copy.deepcopy(self.explainer.networks)
            self._networks = [randomize(network, self.seed + number) for number, network in enumerate(copies)]
        for number, (maps, _) in enumerate(self.explainer.explanations(engine, self._networks)):
            output_of(engine)[f"randomized_{number}"] = maps


def randomize(network: nn.Module, seed: int) -> nn.Module:
    """Draw every parameter of a network anew, the same on every device, and reset its normalizations, in place.

    captum has no such test; that of Quantus gives layers of one shape the same weights and passes over modules without
    ``reset_parameters``, whose parameters become noise of their own mean square here.

    Raises:
        ValueError: when a module has running statistics and no way to reset them.
    """
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    network.cpu()  # the same numbers on every device
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for name, module in network.named_modules():
            if callable(getattr(module, "reset_parameters", None)):
                module.reset_parameters()
                continue
            for parameter in module.parameters(recurse=False):
                parameter.normal_(0.0, parameter.square().mean().sqrt().item())
            if any("running" in buffer for buffer, _ in module.named_buffers(recurse=False)):
                raise ValueError(f"The statistics of {name} cannot be reset; give it a method reset_parameters.")
    return network.to(device)
