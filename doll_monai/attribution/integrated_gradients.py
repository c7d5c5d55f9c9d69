"""Batched multi-target Integrated Gradients (Sundararajan et al. 2017).

The path from a baseline ``b`` to an image ``x`` does not depend on the target, so one forward pass serves all
positive targets of an image; many steps, and many images, share a batch. Parameter names are captum's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from doll_monai.attribution.completeness import completeness_error
from doll_monai.attribution.integration import Integration
from doll_monai.attribution.path import Run, path_through
from doll_monai.attribution.quadrature import METHODS
from doll_monai.attribution.reference import captum_gradient
from doll_monai.utils.errors import InputError

ENGINES = ("doll", "captum")
"""The implementation here, and captum's, which is the reference."""


@dataclass
class PathGradient:
    """What the integration gives for a batch of B images and T targets; zero where a target was not asked for.

    Attributes:
        gradient: (B, T, H, W) float32, the gradient averaged along the path; times ``x - b`` it is the attribution.
        completeness_error: (B, T), ``|sum of attributions - (f(x) - f(b))| / max(|f(x) - f(b)|, 1e-3)``; NaN where a
            target was not asked for.
        n_steps: (B, T) int64, steps of the quadrature.
    """

    gradient: torch.Tensor
    completeness_error: torch.Tensor
    n_steps: torch.Tensor


def path_gradient(
    network: Callable[[torch.Tensor], torch.Tensor],
    inputs: torch.Tensor,
    target: torch.Tensor,
    baselines: torch.Tensor | float = 0.0,
    n_steps: int = 50,
    method: str = "gausslegendre",
    internal_batch_size: int = 64,
    engine: str = "doll",
    tolerance: float = 0.02,
    max_steps: int = 64,
    compile_network: bool = False,
    run: Run | None = None,
) -> PathGradient:
    """Average, along the straight path from baseline to image, of the gradient of each wanted target.

    With ``nested``, ``n_steps`` steps are taken for all, and more for each (image, target) whose completeness error is
    still above the tolerance: the intervals of the path that contribute most to it are halved.

    Args:
        network: a network in evaluation mode, (N, 1, H, W) -> (N, T) logits; its images must not influence each other.
        inputs: (B, 1, H, W), one channel.
        target: (B, T) bool, the targets wanted of each image.
        baselines: a number or (B, 1, H, W).
        n_steps: steps of the quadrature, of ``nested`` the fewest.
        method: ``nested``, ``gausslegendre`` or ``riemann_middle``, see ``quadrature``.
        internal_batch_size: images times steps in one forward pass; bounds the memory.
        engine: ``doll``, or ``captum`` (one call a target, ``gausslegendre`` for ``nested``).
        tolerance: completeness error that ``nested`` is content with.
        max_steps: most steps that ``nested`` takes.
        compile_network: compile the network (``torch.compile``) the first time; pays from some hundred images on.
        run: how to run a network, such as a MONAI inferer that treats every image as a whole; ``network(x)`` if None.

    Returns:
        The path gradient, its completeness error and the number of steps.

    Raises:
        ValueError: for an unknown engine or method, or shapes that do not fit.
    """
    if engine not in ENGINES:
        raise InputError(f"engine must be one of {', '.join(ENGINES)}, not '{engine}'.")
    if method not in METHODS:
        raise InputError(f"method must be one of {', '.join(METHODS)}, not '{method}'.")
    if n_steps < 1:
        raise InputError(f"n_steps must be at least 1, not {n_steps}.")
    if inputs.ndim != 4 or inputs.shape[1] != 1 or target.shape[0] != inputs.shape[0]:
        raise ValueError(f"inputs must be (B, 1, H, W) and target (B, T), not {inputs.shape} and {target.shape}.")
    run = run or (lambda x, f: f(x))
    inputs = inputs.detach().float()
    baseline = torch.as_tensor(baselines, dtype=inputs.dtype, device=inputs.device).expand_as(inputs)
    grey = None if isinstance(baselines, torch.Tensor) else float(baselines)
    change = _change(network, inputs, baseline if grey is None else baseline[:1], internal_batch_size)
    if engine == "captum":
        rule = "gausslegendre" if method == "nested" else method
        gradient = captum_gradient(
            lambda x: run(x, network), inputs, baseline, target, n_steps, rule, internal_batch_size
        )
        steps = torch.full(target.shape, n_steps)
    else:
        integration = Integration(
            path_through(network, compile_network), run, inputs, baseline, grey, internal_batch_size
        )
        with torch.enable_grad():
            gradient, steps = integration.integrate(target, change, n_steps, method, tolerance, max_steps)
    wanted = target.to(device=inputs.device, dtype=torch.bool)
    total = (gradient * (inputs - baseline)).sum(dim=(2, 3))
    error = completeness_error(total, change).masked_fill(~wanted, float("nan"))
    return PathGradient(gradient, error, steps.to(inputs.device).masked_fill(~wanted, 0))


def _change(
    network: Callable[[torch.Tensor], torch.Tensor], inputs: torch.Tensor, baseline: torch.Tensor, batch_size: int
) -> torch.Tensor:
    """f(x) - f(b) of all targets, (B, T), in full precision: logits rounded to ``bfloat16`` would drown it."""
    with torch.no_grad(), torch.autocast(inputs.device.type, enabled=False):
        logits = torch.cat([network(part).float() for part in torch.cat([inputs, baseline]).split(batch_size)])
    return logits[: len(inputs)] - logits[len(inputs) :]
