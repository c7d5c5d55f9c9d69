"""The straight path from baseline to image, taken up where the network first bends it."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import fx, nn
from torch.nn.utils import fuse_conv_bn_eval

Network = Callable[[torch.Tensor], torch.Tensor]
Run = Callable[[torch.Tensor, Network], torch.Tensor]
"""``run(x, network)``, which an inferer is: runs the network as a user wants it, under autocast for instance."""

logger = logging.getLogger(__name__)

TOLERANCE = 0.05
"""Relative difference of output and gradient between a network and its parts that rounding may make: a ReLU whose input
is near zero falls on either side."""


@dataclass
class Path:
    """A network as an affine ``stem`` and the ``rest``: rest(stem(x)) is the network's output.

    A straight path in the image is a straight path behind an affine layer, and the gradient with respect to the image
    is the layer's transpose applied to the gradient behind it. So the stem, (B, 1, H, W) -> (B, C, h, w), runs once for
    an image and its transpose once for an (image, target), however many steps there are; in ``float32``, where the rest
    may run in less. Where a network cannot be split, there is no stem and the features are the image.
    ``network`` and ``rest`` leave their input as it was.
    """

    network: Network
    rest: Network
    stem: nn.Module | None = None

    def enter(self, image: torch.Tensor) -> torch.Tensor:
        """Images behind the stem, (B, C, h, w)."""
        if self.stem is None:
            return image
        with torch.no_grad(), torch.autocast(image.device.type, enabled=False):
            features: torch.Tensor = self.stem(image.float())
        return features

    def back(self, gradient: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """Gradients behind the stem, (N, C, h, w), to those at the image, (N, H, W)."""
        if self.stem is None:
            return gradient[:, 0]
        image = gradient.new_zeros((len(gradient), 1, height, width), requires_grad=True)
        with torch.enable_grad(), torch.autocast(gradient.device.type, enabled=False):
            (result,) = torch.autograd.grad(self.stem(image), image, gradient.float())
        return result[:, 0]


def path_through(network: Network, images: torch.Tensor) -> Path:
    """The path through a network in evaluation mode, whose weights it copies: make another when they change.

    Batch normalizations that directly follow a convolution are folded into it. A network whose first layer is no
    convolution of the image is taken as a whole; so is, and one line is logged, one that ``torch.fx`` cannot take
    apart, or whose output or gradient is another one then (hooks, weights used in two ways, randomness).

    ``images``, (B, 1, H, W), are as they will come: their size and device are those of the comparison.
    """
    whole = Path(untouched(network), untouched(network))
    if not isinstance(network, nn.Module):
        return whole
    try:
        traced = fx.symbolic_trace(copy.deepcopy(network))
        _fold_normalizations(traced)
        stem = _take_stem(traced)
        if stem is None:
            return whole
        last = next(node for node in traced.graph.nodes if node.op == "output").args[0]
        if isinstance(layer := _layer(traced, last), nn.Linear):
            traced.set_submodule(last.target, _Float32(layer))
        for parameter in (*stem.parameters(), *traced.parameters()):
            parameter.requires_grad_(False)
        path = Path(whole.network, traced, stem)
        reason = _difference(path, images)
    except Exception as error:  # whatever torch.fx meets in a user's network, it can still be run as it is
        reason = f"torch.fx cannot take it apart: {str(error).partition(chr(10))[0]}"
    if reason is None:
        return path
    logger.warning("%s is explained as a whole, since %s", type(network).__name__, reason)
    return whole


def untouched(network: Network) -> Network:
    """The network on a copy of its input, since its first layer may work in place."""
    return lambda x: network(x.clone())


def _difference(path: Path, images: torch.Tensor) -> str | None:
    """What a split network gives otherwise than the network itself, on noise in the images' size; None if nothing."""
    noise = torch.rand((1, *images.shape[1:]), generator=torch.Generator().manual_seed(0)).to(images.device)
    precise = torch.backends.cudnn.flags(enabled=torch.backends.cudnn.enabled, allow_tf32=False)
    with precise, torch.enable_grad(), torch.autocast(noise.device.type, enabled=False):
        expected, slope = _value_and_gradient(path.network, noise)
        value, gradient = _value_and_gradient(path.rest, path.enter(noise))
        pairs = {"output": (value, expected), "gradient": (path.back(gradient, *noise.shape[2:]), slope[:, 0])}
    for name, (found, right) in pairs.items():
        share = float((found - right).norm() / right.norm().clamp(min=1e-30))
        if not share <= TOLERANCE:  # NaN as well
            return f"torch.fx takes it apart into one whose {name} is {share:.0%} off."
    return None


def _value_and_gradient(network: Network, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The output, and the gradient of a weighted sum of it; weighted, as the sum of all targets may be constant."""
    x = x.detach().requires_grad_()
    value = network(x).float()
    weights = torch.linspace(1, 2, value.numel(), device=value.device).view_as(value)
    (gradient,) = torch.autograd.grad((value * weights).sum(), x)
    return value.detach(), gradient


def _layer(traced: fx.GraphModule, node: object) -> nn.Module | None:
    """The layer of a node, if it has one input and stands in no other place: it may be replaced."""
    if not isinstance(node, fx.Node) or node.op != "call_module" or len(node.args) != 1 or node.kwargs:
        return None
    places = sum(other.op == "call_module" and other.target == node.target for other in traced.graph.nodes)
    return traced.get_submodule(str(node.target)) if places == 1 else None


def _fold_normalizations(traced: fx.GraphModule) -> None:
    for node in traced.graph.nodes:
        norm = _layer(traced, node)
        if isinstance(norm, nn.BatchNorm2d) and norm.running_var is not None:
            before = node.args[0]
            convolution = _layer(traced, before)
            if isinstance(convolution, nn.Conv2d) and len(before.users) == 1:
                traced.set_submodule(before.target, fuse_conv_bn_eval(convolution, norm))
                traced.set_submodule(node.target, nn.Identity())


def _take_stem(traced: fx.GraphModule) -> nn.Sequential | None:
    """The layers from the image up to the first convolution, taken out of the network; None if there are others."""
    node = next(node for node in traced.graph.nodes if node.op == "placeholder")
    layers: dict[str, nn.Module] = {}
    while len(node.users) == 1:
        node = next(iter(node.users))
        layer = _layer(traced, node)
        padding = isinstance(layer, nn.ConstantPad2d) and layer.value == 0
        if layer is None or not (padding or isinstance(layer, nn.Identity | nn.Conv2d)):
            break
        layers[node.target] = layer
        if isinstance(layer, nn.Conv2d):
            for name in layers:
                traced.set_submodule(name, nn.Identity())
            traced.set_submodule(node.target, _Entry())
            return nn.Sequential(*layers.values())
    return None


class _Entry(nn.Module):
    """Brings features to the type in which autocast computes, as the first convolution would have.

    Otherwise sums and concatenations of features of two types would go on in the wider one. The result is new memory,
    since the next layer may overwrite its input.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kind = x.device.type
        return x.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else x.clone()


class _Float32(nn.Module):
    """A layer that autocast leaves alone: logits rounded to ``bfloat16`` would hide how they change along the path."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast(x.device.type, enabled=False):
            result: torch.Tensor = self.layer(x.float())
        return result
