"""The attributions that are compared, each computed in a process of its own so that its memory can be told."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from captum.attr import IntegratedGradients
from monai.bundle import ConfigParser
from torch import nn

from doll_monai.attribution.integrated_gradients import path_gradient
from doll_monai.inferers.autocast import AutocastInferer
from doll_monai.networks.weights import load_weights, save_weights

CAPTUM_BATCH_SIZES = (4, 8, 16, 25, 50)
"""Tried on one (image, target); captum goes on with the fastest."""
CAPTUM_TRIALS = 2


def explain(
    engine: str, definition: Mapping[str, Any], checkpoint: Path, images: Path, settings: Path, path: Path
) -> None:
    """Explain images with one network by one engine and write what came out; the body of a process.

    Args:
        engine: ``ours`` or ``ours_again``; ``captum``, float32, one image and one target a call; ``reference``, the
            same with more steps.
        definition: the network's ``network_def``.
        checkpoint: its weights.
        images: file with ``image`` (B, 1, H, W) and ``wanted`` (B, 14) bool.
        settings: JSON of ``path_gradient``'s arguments for ours, of ``n_steps`` for captum.
        path: file to write: ``gradient`` (P, H, W) of the wanted pairs, ``seconds``, ``peak_memory_bytes``, ...
    """
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = ConfigParser({"network": dict(definition)}).get_parsed_content("network")
    load_weights(network, checkpoint)
    network = network.eval().to(device)
    data = torch.load(images, weights_only=True)
    image, wanted = data["image"].to(device), data["wanted"].to(device)
    arguments = json.loads(settings.read_text())
    work = _ours if engine.startswith("ours") else _captum
    before = _forget_peak_memory()
    result = work(network, image, wanted, arguments, device)
    peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else _memory("VmHWM") - before
    numbers = {key: torch.tensor(value) for key, value in result.items() if not isinstance(value, torch.Tensor)}
    tensors = {key: value.cpu() for key, value in result.items() if isinstance(value, torch.Tensor)}
    save_weights({**numbers, **tensors, "peak_memory_bytes": torch.tensor(peak)}, path)


def _ours(
    network: nn.Module, image: torch.Tensor, wanted: torch.Tensor, arguments: Mapping[str, Any], device: torch.device
) -> dict[str, Any]:
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    settings = dict(arguments)
    chunk, inferer = settings.pop("batch_size"), AutocastInferer(dtype=settings.pop("precision"))

    def go(part: slice, **changed: Any) -> Any:
        return path_gradient(network, image[part], wanted[part], run=inferer, **{**settings, **changed})

    # all that happens once for a network: tracing and compiling, for every size of batch that occurs
    busiest = int(wanted.sum(dim=1).argmax())
    setup = _seconds(lambda: go(slice(busiest, busiest + 1), tolerance=0.0), device)
    gradient: list[torch.Tensor] = []
    steps: list[torch.Tensor] = []

    def everything() -> None:
        for start in range(0, len(image), chunk):
            part = slice(start, start + chunk)
            result = go(part)
            gradient.append(result.gradient[wanted[part]].cpu())
            steps.append(result.n_steps[wanted[part]].cpu())

    seconds = _seconds(everything, device)
    return {"gradient": torch.cat(gradient), "n_steps": torch.cat(steps), "seconds": seconds, "setup_seconds": setup}


def _captum(
    network: nn.Module, image: torch.Tensor, wanted: torch.Tensor, arguments: Mapping[str, Any], device: torch.device
) -> dict[str, Any]:
    explainer = IntegratedGradients(network, multiply_by_inputs=False)
    pairs = wanted.nonzero().tolist()

    def go(index: int, target: int, batch_size: int, n_steps: int) -> torch.Tensor:
        radiograph = image[index : index + 1]
        step: torch.Tensor = explainer.attribute(
            radiograph, baselines=0.0, target=target, n_steps=n_steps, internal_batch_size=batch_size
        )
        return step[0, 0].detach().cpu()

    index, target = pairs[0]
    go(index, target, 4, 4)
    # the best of several rounds, so that a hiccup of the machine does not decide
    trials = [
        (_seconds(partial(go, index, target, size, 50), device), size)
        for _ in range(CAPTUM_TRIALS)
        for size in CAPTUM_BATCH_SIZES
    ]
    best = min(trials)[1]
    gradient: list[torch.Tensor] = []

    def everything() -> None:
        gradient.extend(go(index, target, best, arguments["n_steps"]) for index, target in pairs)

    seconds = _seconds(everything, device)
    steps = torch.full((len(pairs),), arguments["n_steps"])
    return {"gradient": torch.stack(gradient), "n_steps": steps, "seconds": seconds, "internal_batch_size": best}


def _seconds(work: Callable[[], Any], device: torch.device) -> float:
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _forget_peak_memory() -> int:
    """Let the kernel count the peak anew; returns what is in use now, in bytes."""
    Path("/proc/self/clear_refs").write_text("5")
    return _memory("VmRSS")


def _memory(name: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024
