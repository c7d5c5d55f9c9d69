"""The straight path from baseline to image, taken up where the network first bends it."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx, nn
from torch._functorch import config as functorch_config
from torch.fx.experimental.optimization import fuse

from doll_monai.attribution.fused import fuse_relu

Run = Callable[[torch.Tensor, Callable[[torch.Tensor], torch.Tensor]], torch.Tensor]
"""``run(x, network)``, which an inferer is: runs the network as a user wants it, under autocast for instance."""


@dataclass
class Path:
    """A network as an affine ``stem`` and the ``rest``: rest(stem(x)) is the network's output.

    A straight path in the image is a straight path behind an affine layer, and the gradient with respect to the image
    is the layer's transpose applied to the gradient behind it. So the stem runs once for an image and its transpose
    once for an (image, target), however many steps there are; in ``float32``, where the rest may run in less.

    Attributes:
        stem: (B, 1, H, W) images to (B, C, h, w), affine; None where the network cannot be split, C, h, w are then
            those of the image.
        rest: (B, C, h, w) to (B, T) logits.
        fast: the same, compiled by ``torch.compile`` if that was asked for.
        at_baseline: gradient and logit at uniform baselines, by grey value, image size and target.
    """

    stem: nn.Module | None
    rest: Callable[[torch.Tensor], torch.Tensor]
    fast: Callable[[torch.Tensor], torch.Tensor] | None = None
    at_baseline: dict[tuple[Any, ...], tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)

    def enter(self, image: torch.Tensor) -> torch.Tensor:
        """Images behind the stem."""
        if self.stem is None:
            return image
        with torch.no_grad(), torch.autocast(image.device.type, enabled=False):
            result: torch.Tensor = self.stem(image.float())
        return result

    def back(self, gradient: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """Gradients behind the stem, (N, C, h, w), to those at the image, (N, H, W)."""
        if self.stem is None:
            return gradient[:, 0]
        image = gradient.new_zeros((len(gradient), 1, height, width), requires_grad=True)
        with torch.enable_grad(), torch.autocast(gradient.device.type, enabled=False):
            (result,) = torch.autograd.grad(self.stem(image), image, gradient.float())
        return result[:, 0]


_paths: weakref.WeakKeyDictionary[nn.Module, tuple[Any, Path]] = weakref.WeakKeyDictionary()


def path_through(network: Callable[[torch.Tensor], torch.Tensor], compile_rest: bool = False) -> Path:
    """The path through a network in evaluation mode; kept until a parameter or buffer of it changes.

    Batch normalizations that directly follow a convolution are folded into it. A network that ``torch.fx`` cannot
    trace, or whose first layer is no convolution of the image, is taken as a whole.

    Args:
        network: (B, 1, H, W) -> (B, T).
        compile_rest: let ``torch.compile`` fuse what is behind the stem; it takes a minute or two of compiling.
    """
    if not isinstance(network, nn.Module):
        return Path(None, network)
    values = (*network.parameters(), *network.buffers())
    state = [compile_rest, *((value.data_ptr(), value._version) for value in values)]
    if network not in _paths or _paths[network][0] != state:
        _paths[network] = (state, _split(network, compile_rest))
    return _paths[network][1]


def _split(network: nn.Module, compile_rest: bool) -> Path:
    # a reference to the network itself would keep its entry alive for ever
    whole = Path(None, weakref.proxy(network))
    try:
        traced: Any = fuse(network)
    except Exception:  # whatever torch.fx meets in a user's network, it can still be run as it is
        return whole
    image = next(node for node in traced.graph.nodes if node.op == "placeholder")
    stem, last = _leading_convolution(traced, image)
    if last is None:
        return whole
    with traced.graph.inserting_before(last):
        features = traced.graph.placeholder("features")
        traced.add_submodule("enter_autocast", _Autocast())
        entered = traced.graph.call_module("enter_autocast", (features,))
    last.replace_all_uses_with(entered)
    for node in [*reversed(list(_chain(image, last))), image]:
        if node.users:
            return whole
        traced.graph.erase_node(node)
    traced.recompile()
    for user in entered.users:
        layer = traced.get_submodule(str(user.target)) if user.op == "call_module" else user
        if hasattr(layer, "inplace"):  # a leaf of the graph of gradients must not be overwritten
            layer.inplace = False
    _last_layer_in_float32(traced)
    for parameter in (*stem.parameters(), *traced.parameters()):
        parameter.requires_grad_(False)
    if compile_rest:
        # several backward passes share one forward pass, so its buffers must outlive the first
        functorch_config.donated_buffer = False
        return Path(stem, traced, torch.compile(traced, dynamic=False))
    fuse_relu(traced)
    return Path(stem, traced)


def _leading_convolution(traced: Any, image: fx.Node) -> tuple[nn.Sequential, fx.Node | None]:
    """The layers from the image up to the first convolution, with the node of that; None if there are others."""
    layers: list[nn.Module] = []
    node = image
    while len(node.users) == 1:
        node = next(iter(node.users))
        layer = traced.get_submodule(str(node.target)) if node.op == "call_module" else nn.ReLU()
        zero_padding = isinstance(layer, nn.ConstantPad2d) and layer.value == 0
        if len(node.args) != 1 or node.kwargs or not (zero_padding or isinstance(layer, nn.Conv2d | nn.Identity)):
            break
        layers.append(layer)
        if isinstance(layer, nn.Conv2d):
            return nn.Sequential(*layers), node
    return nn.Sequential(), None


def _chain(image: fx.Node, last: fx.Node) -> Iterator[fx.Node]:
    """The nodes behind the image up to the last one, each the only user of the one before."""
    node = image
    while node is not last:
        node = next(iter(node.users))
        yield node


class _Autocast(nn.Module):
    """Brings features to the type in which autocast computes, as the first convolution would have.

    Otherwise sums and concatenations of features of two types would go on in the wider one.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kind = x.device.type
        return x.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else x


class _Float32(nn.Module):
    """A layer that autocast leaves alone."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast(x.device.type, enabled=False):
            result: torch.Tensor = self.layer(x.float())
        return result


def _last_layer_in_float32(traced: Any) -> None:
    """Logits rounded to ``bfloat16`` would hide how they change from step to step."""
    output = next(node for node in traced.graph.nodes if node.op == "output")
    last = output.args[0]
    if isinstance(last, fx.Node) and last.op == "call_module":
        layer = traced.get_submodule(str(last.target))
        if isinstance(layer, nn.Linear):
            parent, _, name = str(last.target).rpartition(".")
            setattr(traced.get_submodule(parent), name, _Float32(layer))
