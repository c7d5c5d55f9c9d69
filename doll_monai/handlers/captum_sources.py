"""Captum's randomized attributions of each member while an evaluator runs: GradientShap and NoiseTunnel."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from captum.attr import GradientShap, IntegratedGradients, NoiseTunnel
from monai.inferers import Inferer, SimpleInferer
from torch import nn

from doll_monai.handlers.explainer import Explainer, Explanation
from doll_monai.utils.errors import InputError, explained


class CaptumHandler(Explainer):
    """Adds each member's gradient, averaged over random points, and ``n_steps_k`` to the engine's output.

    Like the path-averaged gradient of Integrated Gradients it is not yet multiplied by (input - baseline).
    ``gradient_shap`` (Lundberg and Lee 2017) takes a random point of the path from the baseline to the noisy image for
    each sample; ``noise_tunnel`` (SmoothGrad, Smilkov et al. 2017) averages the Integrated Gradients of noisy images.

    One image is explained at a time, with random numbers that depend on ``seed``, the image's values and the member
    alone: neither the other images of a batch nor an interruption changes the result.

    Args:
        networks, explainer_arguments: see ``Explainer``.
        method: ``gradient_shap`` or ``noise_tunnel``.
        inferer: runs the networks, for example an ``AutocastInferer``; must give logits.
        n_samples: random samples of each image.
        stdevs: standard deviation of the noise, in units of the normalized image.
        baselines: gray value of the uniform baseline image.
        n_steps: Gauss-Legendre steps of Integrated Gradients for ``noise_tunnel``.
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
        inferer: Inferer | None = None,
        n_samples: int = 16,
        stdevs: float = 0.1,
        baselines: float = 0.0,
        n_steps: int = 24,
        internal_batch_size: int = 64,
        seed: int = 0,
        **explainer_arguments: Any,
    ) -> None:
        super().__init__(networks, **explainer_arguments)
        if method not in ("gradient_shap", "noise_tunnel"):
            raise InputError(f"The method must be 'gradient_shap' or 'noise_tunnel', not '{method}'.")
        if n_samples < 1 or stdevs < 0:
            raise InputError(f"There must be noise samples of a width from 0 on, not {n_samples} of {stdevs}.")
        self.method, self.inferer, self.seed = method, inferer or SimpleInferer(), seed
        self.n_samples, self.stdevs, self.baselines = n_samples, float(stdevs), float(baselines)
        self.n_steps, self.internal_batch_size = n_steps, internal_batch_size

    def explain(self, number: int, network: nn.Module, image: torch.Tensor, wanted: torch.Tensor) -> Explanation:
        """One member's averaged gradient."""
        maps = image.new_zeros((*wanted.shape, *image.shape[2:]))
        attribute = self._gradient_shap if self.method == "gradient_shap" else self._noise_tunnel
        for index, target in wanted.nonzero().tolist():
            one = image[index : index + 1].detach()
            with _random_state(one, f"{self.seed}:{number}:"), torch.enable_grad():
                maps[index, target] = attribute(network, one, target)[0, 0].detach()
        steps = self.n_samples * (self.n_steps if self.method == "noise_tunnel" else 1)
        return maps, {"n_steps": steps * wanted.long()}

    def _gradient_shap(self, network: nn.Module, image: torch.Tensor, target: int) -> torch.Tensor:
        explainer = GradientShap(lambda x: self.inferer(x, network), multiply_by_inputs=False)
        baseline, total = torch.full_like(image, self.baselines), torch.zeros_like(image)
        for start in range(0, self.n_samples, self.internal_batch_size):
            samples = min(self.internal_batch_size, self.n_samples - start)
            part = explainer.attribute(image, baseline, samples, self.stdevs, target)
            total += part * (samples / self.n_samples)
        return total

    def _noise_tunnel(self, network: nn.Module, image: torch.Tensor, target: int) -> torch.Tensor:
        integrated = IntegratedGradients(lambda x: self.inferer(x, network), multiply_by_inputs=False)
        samples = max(self.internal_batch_size // self.n_steps, 1)
        options = {"nt_samples": self.n_samples, "nt_samples_batch_size": samples, "stdevs": self.stdevs}
        options |= {"baselines": self.baselines, "n_steps": self.n_steps, "target": target}
        batch_size = max(self.internal_batch_size, samples)
        result: torch.Tensor = NoiseTunnel(integrated).attribute(image, internal_batch_size=batch_size, **options)
        return result


@contextmanager
def _random_state(image: torch.Tensor, salt: str) -> Iterator[None]:
    """Seed the global generators of torch and numpy, which captum draws from, and put them back afterwards."""
    digest = hashlib.sha256(salt.encode() + image.float().cpu().contiguous().numpy().tobytes())
    seed = int.from_bytes(digest.digest()[:4], "big")
    state = np.random.get_state()  # noqa: NPY002 - the one that captum uses
    with torch.random.fork_rng(devices=[image.device] if image.is_cuda else []):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(state)  # noqa: NPY002
