"""One measurement of the attribution benchmark, in a process of its own so that its memory can be told."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from typing import Any

import numpy as np
import torch
from captum.attr import IntegratedGradients
from monai.bundle import ConfigParser

CAPTUM_STEPS = 50  # its own default
BATCH_SIZES = (4, 8, 16, 25, 50)  # tried for captum


@dataclass(frozen=True)
class Job:
    """What is measured.

    Attributes:
        config: of the label bundle, with a committee of one network.
        image: (B, 1, H, W) float32.
        wanted: (B, 14) bool, targets of each image.
        engine: ``ours``, or ``captum`` in ``float32``.
        together: captum explains several images of a target in one call.
        batch_size: captum's ``internal_batch_size``.
        seed: of the network's weights.
    """

    config: dict[str, Any]
    image: np.ndarray
    wanted: np.ndarray
    engine: str = "captum"
    together: bool = True
    batch_size: int = 0
    seed: int = 0


def in_own_process(function: Callable[[Job], Any], job: Job) -> Any:
    """What a function returns that a new process runs."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, job).result()


def measure(job: Job) -> dict[str, float]:
    """``seconds`` for all images, ``peak_memory`` in bytes beyond the network's, mean ``steps``; one image warms up."""
    explain = _prepare(job)
    before = _peak_memory()
    explain(slice(0, 1))
    seconds, steps = _timed(explain, slice(None))
    return {"seconds": seconds, "peak_memory": _peak_memory() - before, "steps": float(np.mean(steps))}


def fastest_batch_size(job: Job) -> int:
    """captum's fastest ``internal_batch_size`` for the first image, best of two trials."""
    trials = [(_timed(_prepare(replace(job, batch_size=size)), slice(0, 1))[0], size) for size in BATCH_SIZES * 2]
    return min(trials)[1]


def _prepare(job: Job) -> Callable[[slice], list[float]]:
    """The function that explains some of the images and returns the steps of each of their targets."""
    torch.manual_seed(job.seed)
    parser = ConfigParser(job.config)
    explainer = parser.get_parsed_content("explainer")
    network = explainer.networks[0].eval().requires_grad_(False)
    device, batch_size = (parser.get_parsed_content(name) for name in ("device", "batch_size"))
    image, wanted = torch.from_numpy(job.image).to(device), torch.from_numpy(job.wanted).to(device)

    def ours(part: slice) -> list[float]:
        steps: list[float] = []
        for x, targets in zip(image[part].split(batch_size), wanted[part].split(batch_size), strict=True):
            steps += explainer.explain(0, network, x, targets)[1]["n_steps"][targets].tolist()
        return steps

    def captum(part: slice) -> list[float]:
        reference, x, targets = IntegratedGradients(network), image[part], wanted[part]
        for target in targets.any(dim=0).nonzero().flatten().tolist():
            for index in targets[:, target].nonzero().flatten().split(job.batch_size if job.together else 1):
                reference.attribute(x[index], 0.0, target, None, CAPTUM_STEPS, internal_batch_size=job.batch_size)
        return [CAPTUM_STEPS] * int(targets.sum())

    return ours if job.engine == "ours" else captum


def _timed(explain: Callable[[slice], list[float]], part: slice) -> tuple[float, list[float]]:
    start = time.perf_counter()
    steps = explain(part)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start, steps


def _peak_memory() -> int:
    """Bytes that this process, or its GPU, has had in use at most."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
