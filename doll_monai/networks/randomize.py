"""Networks that have forgotten what they learnt, for the sanity check of explanations."""

from __future__ import annotations

import torch
from torch import nn


def randomize(network: nn.Module, seed: int) -> nn.Module:
    """Draw every parameter of a network anew, and forget the statistics of its normalization layers.

    The model-randomization test (Adebayo et al., *Sanity Checks for Saliency Maps*, NeurIPS 2018): a map that looks
    the same for such a network does not show what the network learnt. captum has no such test. Quantus 0.6.0 has one
    (``MPRT``), but it runs a loop of its own with one target an image, restarts the random numbers for each layer, so
    that layers of one shape get the same weights, passes over parameters of modules without ``reset_parameters``,
    and brings OpenCV along. So each module's own ``reset_parameters`` is called here, which resets the running
    statistics of a BatchNorm too; a parameter whose module has none becomes noise with its own mean square.

    Args:
        network: changed in place.
        seed: another seed, other parameters; the caller's random state stays as it was.

    Returns:
        the network.

    Raises:
        ValueError: when a module keeps its running statistics to itself, without a way to reset them.
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
                parameter.normal_(0.0, float(parameter.square().mean().sqrt()))
            if any("running" in buffer for buffer, _ in module.named_buffers(recurse=False)):
                raise ValueError(f"The statistics of {name} cannot be reset; give it a method reset_parameters.")
    return network.to(device)
