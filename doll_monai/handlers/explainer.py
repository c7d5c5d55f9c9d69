"""What handlers share that explain a classifier's decisions while an evaluator runs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from ignite.engine import Engine
from monai.data import MetaTensor
from monai.engines import IterationEvents
from monai.utils import CommonKeys
from torch import nn

from doll_monai.findings import FINDINGS, finding_index
from doll_monai.handlers.engine import output_of

Explanation = tuple[torch.Tensor, Mapping[str, torch.Tensor]]
"""Maps (B, T, H, W), zero where not wanted, and what else is known of them by name, (B, T) each."""


class Explainer:
    """Adds explanations of the positive observations to the engine's output after each forward pass.

    For network k the output gains the maps ``{prefix}_k``, (B, T, H, W), zero where nothing was explained, and what
    else the method knows of them, such as ``n_steps_k``, (B, T).

    Args:
        networks: the K classifiers to explain, (B, 1, H, W) -> (B, T) logits; left as they were.
        output_prefix: name of the maps.
        target_key: (B, T) targets; those from 0.5 on are explained.
        image_key: (B, 1, H, W) images.
        unlocalized: observations that have no place in an image and are not explained.
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        output_prefix: str = "attribution",
        target_key: str = CommonKeys.LABEL,
        image_key: str = CommonKeys.IMAGE,
        unlocalized: Sequence[str] = ("No Finding",),
    ) -> None:
        self.networks = list(networks)
        self.output_prefix = output_prefix
        self.target_key, self.image_key = target_key, image_key
        self.unlocalized = [finding_index(name) for name in unlocalized]

    def attach(self, engine: Engine) -> None:
        """Explain after each forward pass of the engine, before it post-processes."""
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        for number, (maps, known) in enumerate(self.explanations(engine, self.networks)):
            named = {self.output_prefix: maps, **known}
            output_of(engine).update({f"{name}_{number}": value for name, value in named.items()})

    def explanations(self, engine: Engine, networks: Sequence[nn.Module]) -> Iterator[Explanation]:
        """What each of the networks says of the engine's current batch."""
        image = output_of(engine)[self.image_key]
        image = image.as_tensor() if isinstance(image, MetaTensor) else image
        wanted = output_of(engine)[self.target_key] >= 0.5
        if wanted.shape[1] == len(FINDINGS):
            wanted[:, self.unlocalized] = False
        for number, network in enumerate(networks):
            with evaluation_mode(network):
                yield self.explain(number, network, image, wanted.to(image.device))

    def explain(self, number: int, network: nn.Module, image: torch.Tensor, wanted: torch.Tensor) -> Explanation:
        """Explain the wanted targets, (B, T) bool, of images, (B, 1, H, W), by network ``number``."""
        raise NotImplementedError


@contextmanager
def evaluation_mode(network: nn.Module) -> Iterator[None]:
    """Evaluation mode, and every layer's own mode afterwards, which MONAI's ``eval_mode`` does not restore."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
