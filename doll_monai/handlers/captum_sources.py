"""Captum's randomized attributions of each member while an evaluator runs: GradientShap and NoiseTunnel."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from captum.attr import GradientShap, IntegratedGradients, NoiseTunnel
from ignite.engine import Engine
from monai.inferers import Inferer, SimpleInferer
from monai.utils import CommonKeys
from torch import nn

from doll_monai.handlers.engine import output_of
from doll_monai.handlers.explainer import Explainer
from doll_monai.utils.errors import InputError, explained


class CaptumHandler(Explainer):
    """Adds each member's gradient, averaged over random points, to the engine's output: ``{prefix}_k`` (B, T, H, W).

    Like the path-averaged gradient of Integrated Gradients it is not yet multiplied by (input - baseline).
    ``gradient_shap`` (Lundberg and Lee 2017) takes a random point of the path from the baseline to the noisy image for
    each sample; ``noise_tunnel`` (SmoothGrad, Smilkov et al. 2017) averages the Integrated Gradients of noisy images.

    One image is explained at a time, with random numbers that depend on ``seed``, the image's values and the member
    alone: neither the other images of a batch nor an interruption changes the result, and the state of the global
    generators is left as it was. ``completeness_error_k`` is NaN, since the random points have no end to compare with.

    Args:
        networks, output_prefix, target_key, image_key, unlocalized: see ``Explainer``.
        method: ``gradient_shap`` or ``noise_tunnel``.
        inferer: runs the networks, for example an ``AutocastInferer``; must give logits.
        n_samples: random samples of each image.
        stdevs: standard deviation of the noise, in units of the normalized image.
        baselines: grey value of the uniform baseline image.
        n_steps: steps of Integrated Gradients for ``noise_tunnel``.
        quadrature: captum's name of their rule, such as ``gausslegendre``.
        internal_batch_size: samples times steps in one forward pass.
        seed: another seed, other noise.

    Raises:
        InputError: for another method, no samples, or a negative standard deviation.
    """

    @explained
    def __init__(
        self,
        networks: Sequence[nn.Module],
        method: str,
        output_prefix: str = "attribution",
        target_key: str = CommonKeys.LABEL,
        image_key: str = CommonKeys.IMAGE,
        unlocalized: Sequence[str] = ("No Finding",),
        inferer: Inferer | None = None,
        n_samples: int = 16,
        stdevs: float = 0.1,
        baselines: float = 0.0,
        n_steps: int = 24,
        quadrature: str = "gausslegendre",
        internal_batch_size: int = 64,
        seed: int = 0,
    ) -> None:
        super().__init__(networks, output_prefix, target_key, image_key, unlocalized)
        if method not in ("gradient_shap", "noise_tunnel"):
            raise InputError(f"The method must be 'gradient_shap' or 'noise_tunnel', not '{method}'.")
        if n_samples < 1 or stdevs < 0:
            raise InputError(f"There must be noise samples of a width from 0 on, not {n_samples} of {stdevs}.")
        self.method = method
        self.inferer = inferer or SimpleInferer()
        self.n_samples = n_samples
        self.stdevs = float(stdevs)
        self.baselines = float(baselines)
        self.n_steps = n_steps
        self.quadrature = quadrature
        self.internal_batch_size = internal_batch_size
        self.seed = seed

    def explain(
        self, engine: Engine, number: int, network: nn.Module, image: torch.Tensor, wanted: torch.Tensor
    ) -> None:
        """Add one member's averaged gradient."""
        gradient = image.new_zeros((*wanted.shape, *image.shape[2:]))
        attribute = self._gradient_shap if self.method == "gradient_shap" else self._noise_tunnel
        for index, target in wanted.nonzero().tolist():
            one = image[index : index + 1].detach()
            with _random_state(_seed_of(one, self.seed, number), one.device), torch.enable_grad():
                gradient[index, target] = attribute(network, one, target)[0, 0].detach()
        output_of(engine)[f"{self.output_prefix}_{number}"] = gradient
        steps = self.n_samples * (self.n_steps if self.method == "noise_tunnel" else 1)
        self.without_completeness(engine, number, wanted, steps)

    def _gradient_shap(self, network: nn.Module, image: torch.Tensor, target: int) -> torch.Tensor:
        explainer = GradientShap(lambda x: self.inferer(x, network), multiply_by_inputs=False)
        total = torch.zeros_like(image)
        for start in range(0, self.n_samples, self.internal_batch_size):
            samples = min(self.internal_batch_size, self.n_samples - start)
            baseline = torch.full_like(image, self.baselines)
            part = explainer.attribute(image, baseline, n_samples=samples, stdevs=self.stdevs, target=target)
            total += part * (samples / self.n_samples)
        return total

    def _noise_tunnel(self, network: nn.Module, image: torch.Tensor, target: int) -> torch.Tensor:
        integrated = IntegratedGradients(lambda x: self.inferer(x, network), multiply_by_inputs=False)
        samples = max(self.internal_batch_size // self.n_steps, 1)
        result: torch.Tensor = NoiseTunnel(integrated).attribute(
            image,
            nt_type="smoothgrad",
            nt_samples=self.n_samples,
            nt_samples_batch_size=samples,
            stdevs=self.stdevs,
            baselines=self.baselines,
            target=target,
            n_steps=self.n_steps,
            method=self.quadrature,
            internal_batch_size=max(self.internal_batch_size, samples),
        )
        return result


def _seed_of(image: torch.Tensor, seed: int, number: int) -> int:
    """A seed from an image's values, 32 bits."""
    digest = hashlib.sha256(f"{seed}:{number}:".encode())
    digest.update(image.float().cpu().contiguous().numpy().tobytes())
    return int.from_bytes(digest.digest()[:4], "big")


@contextmanager
def _random_state(seed: int, device: torch.device) -> Iterator[None]:
    """Seed the global generators of torch and numpy, which captum draws from, and put them back afterwards."""
    state = np.random.get_state()  # noqa: NPY002 - the one that captum uses
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(state)  # noqa: NPY002
