"""Random networks for the model-randomization sanity check of attributions (Adebayo et al. 2018)."""

from __future__ import annotations

import torch
from torch import nn


def randomize(network: nn.Module, seed: int) -> nn.Module:
    """Draw every parameter of a network anew and reset the statistics of its normalizations, in place.

    An attribution that stays the same for such a network does not show what the network learnt. captum has no such
    test; that of Quantus gives layers of one shape the same weights and passes over modules without
    ``reset_parameters``, whose parameters become noise of their own mean square here. The seed decides the parameters
    on every device; the caller's random state stays as it was.

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
