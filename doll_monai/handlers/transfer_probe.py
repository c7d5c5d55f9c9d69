"""Which checkpoint transfers best: a linear probe on a few annotated images, instead of the fit to wrong labels."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from ignite.engine import Engine, Events
from monai.data import Dataset
from monai.inferers import Inferer, SimpleInferer
from monai.metrics import compute_iou
from monai.networks.utils import eval_mode
from monai.utils import CommonKeys
from torch import nn

from doll_monai.utils.errors import InputError, explained

BATCH_SIZE = 8  # images that go through the network at once


class TransferProbe:
    """Metric of an evaluator: IoU that a linear probe on the frozen features reaches on held-out annotated images.

    At the end of each epoch of the evaluator a logistic regression is fitted to the training images' masks, on features
    in front of the network's last convolution; its logits, interpolated to the mask's size, are compared with the
    validation images' masks. Nothing of it is random and the network is left as it was. The probe is ours; its images
    count as annotated images.

    Args:
        network: the network that is pre-trained; the last 2-D convolution that it declares gives the classes.
        training: images with ``image`` (1, H, W) and ``label`` (T, H, W) of 0 and 1, all of one size.
        validation: the images to score, likewise.
        inferer: runs the network; plainly by default.
    """

    @explained
    def __init__(
        self, network: nn.Module, training: Dataset, validation: Dataset, inferer: Inferer | None = None
    ) -> None:
        if len(training) == 0 or len(validation) == 0:
            raise InputError("The probe needs annotated images in 'training' and 'validation'; see probe_datalist.")
        self.network, self.training, self.validation = network, training, validation
        self.inferer = inferer or SimpleInferer()
        self.last = last_convolution(network)

    def attach(self, engine: Engine, name: str) -> None:
        """Set the metric ``name`` of the engine at the end of each of its epochs."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self, name)

    def __call__(self, engine: Engine, name: str) -> None:
        engine.state.metrics[name] = self.score()

    def score(self) -> float:
        """Mean IoU over validation images and classes; an empty mask counts 1 if nothing is predicted, else 0."""
        features, label = self._features(self.training)
        target = F.interpolate(label, size=features.shape[-2:], mode="area")
        pixels, targets = (values.movedim(1, -1).flatten(0, 2) for values in (features, target))
        weight, bias = fit_linear_probe(pixels, targets)
        features, label = self._features(self.validation)
        logits = F.conv2d(features, weight[:, :, None, None], bias)
        logits = F.interpolate(logits, size=label.shape[-2:], mode="bilinear")
        return float(compute_iou(logits > 0, label, ignore_empty=False).mean())

    def _features(self, images: Dataset) -> tuple[torch.Tensor, torch.Tensor]:
        """Features (N, C, h, w) and labels (N, T, H, W) of all images."""
        items: list[Any] = [images[number] for number in range(len(images))]
        image, label = (
            torch.stack([torch.as_tensor(item[key]).as_subclass(torch.Tensor) for item in items])
            for key in (CommonKeys.IMAGE, CommonKeys.LABEL)
        )
        features: list[torch.Tensor] = []
        handle = self.last.register_forward_pre_hook(lambda _module, inputs: features.append(inputs[0].float()))
        try:
            with eval_mode(self.network):
                for batch in image.to(self.last.weight).split(BATCH_SIZE):
                    self.inferer(batch, self.network)
        finally:
            handle.remove()
        return torch.cat(features), label.to(features[0])


def last_convolution(network: nn.Module) -> nn.Conv2d:
    """The 2-D convolution that a network declares last; ``InputError`` when there is none."""
    found = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    if not found:
        raise InputError("The network of network_def has no 2-D convolution in front of which a probe could be put.")
    return found[-1]


def fit_linear_probe(
    features: torch.Tensor, target: torch.Tensor, penalty: float = 1e-3
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logistic regression of several binary classes by L-BFGS, from zero: the same numbers give the same probe.

    ``penalty`` weighs the squared weights of standardized features beside the mean cross-entropy. From features (N, C)
    and target (N, T) in [0, 1] to weight (T, C) and bias (T), for the features as they are.
    """
    mean, deviation = features.mean(0), features.std(0).clamp(min=1e-6)
    x = (features - mean) / deviation
    with torch.enable_grad():
        weight = x.new_zeros(x.shape[1], target.shape[1], requires_grad=True)
        bias = x.new_zeros(target.shape[1], requires_grad=True)
        optimizer = torch.optim.LBFGS([weight, bias], max_iter=100, line_search_fn="strong_wolfe")

        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            loss = F.binary_cross_entropy_with_logits(x @ weight + bias, target) + penalty * weight.square().sum()
            loss.backward()
            return loss

        optimizer.step(closure)
    scaled = (weight.detach() / deviation[:, None]).T
    return scaled, bias.detach() - scaled @ mean
