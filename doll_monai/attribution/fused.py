"""Batch normalisation and ReLU in evaluation mode as one layer, whose backward pass needs no statistics."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx, nn


class _ScaleShiftReLU(torch.autograd.Function):
    """max(x s + t, 0) with s, t for each channel; the gradient is that of x alone."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
        result = torch.addcmul(shift, x, scale).relu_()
        ctx.save_for_backward(result, scale)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        result, scale = ctx.saved_tensors
        return torch.ops.aten.threshold_backward(gradients[0], result, 0).mul_(scale), None, None


class ScaleShiftReLU(nn.Module):
    """What a batch normalisation in evaluation mode and a ReLU do together, for networks that learn no more.

    Args:
        norm: the normalisation, with running statistics.
    """

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        assert norm.running_var is not None
        assert norm.running_mean is not None
        scale = torch.rsqrt(norm.running_var + norm.eps) * (1.0 if norm.weight is None else norm.weight)
        shift = (0.0 if norm.bias is None else norm.bias) - norm.running_mean * scale
        self.register_buffer("scale", scale.detach().view(1, -1, 1, 1))
        self.register_buffer("shift", shift.detach().view(1, -1, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Args: x: (B, C, H, W). Returns: the same shape and type."""
        result: torch.Tensor = _ScaleShiftReLU.apply(x, self.scale.to(x.dtype), self.shift.to(x.dtype))
        return result


def fuse_norm_relu(traced: fx.GraphModule) -> None:
    """Replace every batch normalisation whose only user is a ReLU, with it, in place."""
    for node in list(traced.graph.nodes):
        if node.op != "call_module" or len(node.users) != 1:
            continue
        norm, user = traced.get_submodule(node.target), next(iter(node.users))
        tracked = isinstance(norm, nn.BatchNorm2d) and norm.running_var is not None
        if tracked and user.op == "call_module" and isinstance(traced.get_submodule(str(user.target)), nn.ReLU):
            parent, _, name = node.target.rpartition(".")
            setattr(traced.get_submodule(parent), name, ScaleShiftReLU(norm))  # type: ignore[arg-type]
            user.replace_all_uses_with(node)
            traced.graph.erase_node(user)
    traced.recompile()
