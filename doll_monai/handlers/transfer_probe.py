"""Which checkpoint transfers best: a linear probe on a few annotated images, instead of the fit to wrong labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from ignite.engine import Engine, Events
from monai.data import Dataset, MetaTensor
from monai.inferers import Inferer, SimpleInferer
from monai.metrics import compute_iou
from monai.networks.utils import eval_mode
from monai.utils import CommonKeys
from torch import nn

from doll_monai.utils.errors import InputError


class TransferProbe:
    """Metric of an evaluator: IoU that a linear probe on the frozen features reaches on held-out annotated images.

    Each time the evaluator's epoch is over, features are taken in front of the network's last convolution, a logistic
    regression (a 1 x 1 convolution) is fitted to the training images' masks, and its logits, interpolated to the mask's
    size, are compared with the validation images' masks. Nothing of it is random and the network is left as it was.
    That early checkpoints often transfer better than well fitted ones is the reason; the probe itself is ours.

    Its images count as annotated images: whoever reports how well few images suffice reports on others.

    Args:
        network: the network that is pre-trained.
        training: images with ``image`` (1, H, W) and ``label`` (T, H, W) of 0 and 1, all of one size.
        validation: the images to score, likewise.
        device: where the network is.
        inferer: runs the network; plainly by default.
        head: module in which the last convolution is sought; None is the whole network. A module counts as last in the
            order in which the network declares its parts.
        penalty: weight of the squared weights beside the mean cross-entropy; features have mean 0 and deviation 1.
        batch_size: images that go through the network at once.

    Raises:
        InputError: when there is no image, or no convolution in ``head``.
    """

    def __init__(
        self,
        network: nn.Module,
        training: Dataset,
        validation: Dataset,
        device: torch.device | str = "cpu",
        inferer: Inferer | None = None,
        head: str | None = None,
        penalty: float = 1e-3,
        batch_size: int = 8,
    ) -> None:
        if len(training) == 0 or len(validation) == 0:
            raise InputError(
                "The probe needs annotated images in both 'training' and 'validation'; see probe_datalist."
            )
        self.network = network
        self.training = training
        self.validation = validation
        self.device = device
        self.inferer = inferer or SimpleInferer()
        self.last = last_convolution(network, head)
        self.penalty = penalty
        self.batch_size = batch_size

    def attach(self, engine: Engine, name: str) -> None:
        """Set the metric ``name`` of the engine at the end of each of its epochs."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self, name)

    def __call__(self, engine: Engine, name: str) -> None:
        engine.state.metrics[name] = self.score()

    def score(self) -> float:
        """Mean IoU over validation images and classes; an image without truth counts 1 if nothing is predicted, else 0."""
        features, label = self._features(self.training)
        target = F.interpolate(label, size=features.shape[-2:], mode="area")
        weight, bias = fit_linear_probe(_pixels(features), _pixels(target), self.penalty)
        features, label = self._features(self.validation)
        logits = F.conv2d(features, weight[:, :, None, None], bias)
        logits = F.interpolate(logits, size=label.shape[-2:], mode="bilinear", align_corners=False)
        return float(compute_iou(logits > 0, label, include_background=True, ignore_empty=False).mean())

    def _features(self, images: Dataset) -> tuple[torch.Tensor, torch.Tensor]:
        """Features (N, C, h, w) and labels (N, T, H, W) of all images."""
        features: list[torch.Tensor] = []
        labels: list[torch.Tensor] = []

        def keep(_module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            features.append(inputs[0].float())

        handle = self.last.register_forward_pre_hook(keep)
        try:
            with eval_mode(self.network):
                for start in range(0, len(images), self.batch_size):
                    items: list[Any] = [images[i] for i in range(start, min(start + self.batch_size, len(images)))]
                    self.inferer(_stack(items, CommonKeys.IMAGE).to(self.device), self.network)
                    labels.append(_stack(items, CommonKeys.LABEL).float().to(self.device))
        finally:
            handle.remove()
        return torch.cat(features), torch.cat(labels)


def last_convolution(network: nn.Module, head: str | None = None) -> nn.Module:
    """The convolution that turns features into classes.

    Args:
        network: a network whose last declared 2-D convolution is the last that runs, or is so within ``head``.
        head: name of a module; None is the whole network.

    Raises:
        InputError: when there is no such module, or no 2-D convolution in it.
    """
    modules = dict(network.named_modules())
    if head is not None and head not in modules:
        raise InputError(f"The network of network_def has no module '{head}'; give the probe's head another name.")
    found = [module for module in modules[head or ""].modules() if isinstance(module, nn.Conv2d)]
    if not found:
        raise InputError("The network of network_def has no 2-D convolution in front of which a probe could be put.")
    return found[-1]


def fit_linear_probe(
    features: torch.Tensor, target: torch.Tensor, penalty: float = 1e-3, iterations: int = 100
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logistic regression of several binary classes by L-BFGS, from zero: the same numbers give the same probe.

    Args:
        features: (N, C).
        target: (N, T) in [0, 1].
        penalty: weight of the squared weights of standardized features.
        iterations: L-BFGS steps at the most.

    Returns:
        weight (T, C) and bias (T), for the features as they are.
    """
    mean, deviation = features.mean(0), features.std(0).clamp(min=1e-6)
    x = (features - mean) / deviation
    with torch.enable_grad():
        weight = torch.zeros(x.shape[1], target.shape[1], device=x.device, requires_grad=True)
        bias = torch.zeros(target.shape[1], device=x.device, requires_grad=True)
        optimizer = torch.optim.LBFGS([weight, bias], max_iter=iterations, line_search_fn="strong_wolfe")

        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            loss = F.binary_cross_entropy_with_logits(x @ weight + bias, target) + penalty * weight.square().sum()
            loss.backward()
            return loss

        optimizer.step(closure)
    scaled = (weight.detach() / deviation[:, None]).T
    return scaled, bias.detach() - scaled @ mean


def _stack(items: Sequence[Any], key: str) -> torch.Tensor:
    stacked = torch.stack([torch.as_tensor(item[key]) for item in items])
    return stacked.as_tensor() if isinstance(stacked, MetaTensor) else stacked


def _pixels(x: torch.Tensor) -> torch.Tensor:
    """(N, C, h, w) -> (N h w, C)."""
    return x.permute(0, 2, 3, 1).flatten(0, 2)
