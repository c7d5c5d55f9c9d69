"""What handlers share that explain a classifier's decisions while an evaluator runs it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from ignite.engine import Engine
from monai.data import MetaTensor
from monai.engines import IterationEvents
from monai.utils import CommonKeys
from torch import nn

from doll_monai.findings import FINDINGS, finding_index
from doll_monai.handlers.engine import output_of


class Explainer:
    """What explaining handlers share: which targets, which networks, and how to leave the networks as they were.

    Args:
        networks: the K classifiers to explain, (B, 1, H, W) -> (B, T) logits.
        output_prefix: results are ``{prefix}_0`` ... ``{prefix}_{K-1}`` in the engine's output, (B, T, H, W).
        target_key: (B, T) targets; those from 0.5 on are explained.
        image_key: (B, 1, H, W) images.
        unlocalized: observations that have no place in an image and are not explained.
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        output_prefix: str,
        target_key: str = CommonKeys.LABEL,
        image_key: str = CommonKeys.IMAGE,
        unlocalized: Sequence[str] = ("No Finding",),
    ) -> None:
        self.networks = list(networks)
        self.output_prefix = output_prefix
        self.target_key = target_key
        self.image_key = image_key
        self.unlocalized = [finding_index(name) for name in unlocalized]

    def attach(self, engine: Engine) -> None:
        """Explain after each forward pass of the engine, before it post-processes."""
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        image = output_of(engine)[self.image_key]
        image = image.as_tensor() if isinstance(image, MetaTensor) else image
        wanted = output_of(engine)[self.target_key] >= 0.5
        if wanted.shape[1] == len(FINDINGS):
            wanted[:, self.unlocalized] = False
        for number, network in enumerate(self.networks):
            with frozen(network):
                self.explain(engine, number, network, image, wanted.to(image.device))

    def explain(
        self, engine: Engine, number: int, network: nn.Module, image: torch.Tensor, wanted: torch.Tensor
    ) -> None:
        """Add one member's explanation to the engine's output."""
        raise NotImplementedError

    def without_completeness(self, engine: Engine, number: int, wanted: torch.Tensor, n_steps: int) -> None:
        """Say for one member how many steps were taken and that no completeness error is known, unless one is."""
        output = output_of(engine)
        output.setdefault(f"completeness_error_{number}", torch.full(wanted.shape, float("nan"), device=wanted.device))
        output.setdefault(f"n_steps_{number}", n_steps * wanted.long())


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
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
