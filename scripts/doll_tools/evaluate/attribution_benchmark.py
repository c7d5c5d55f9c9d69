"""Speed and memory of our Integrated Gradients beside captum's: the same networks, images and positive observations.

Each measurement has a process of its own, so that its memory can be told.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from captum.attr import IntegratedGradients
from monai.bundle import ConfigParser
from tqdm import tqdm

from doll_monai.findings import finding_index
from doll_monai.utils.atomic import write_atomic
from doll_monai.utils.errors import InputError
from doll_tools.arguments import bundles_folder, list_argument
from doll_tools.prepare.chexpert import read_chexpert
from doll_tools.release.committee import committee_definition

CAPTUM_STEPS = 50  # its own default
BATCH_SIZES = (4, 8, 16, 25, 50)  # tried for captum
ENGINES = ("ours", "captum")
ROWS: dict[str, dict[str, Any]] = {
    "float32_equal_steps": {"precision": "float32", "ig_steps": CAPTUM_STEPS},
    "float32_own_steps": {"precision": "float32"},
    "as_called": {},
}
"""Row to values of the label bundle for ours: the same type and steps; the same type, each with its own default steps;
and as a user would call either, the bundle as it is beside captum with one image and one target a call."""


def benchmark(
    data: str,
    output: str,
    count: int = 16,
    size: int = 224,
    networks: str | list[str] = "densenet121,resnet50",
    repeats: int = 3,
    seed: int = 0,
    quiet: bool = False,
) -> None:
    """Write images a second and peak memory in bytes of both as JSON, and print a table.

    The networks have seeded random weights. Both engines take turns, each time in a new process; the median of the
    repeats counts. captum runs in float32 with the internal_batch_size that is fastest here.

    Args:
        data: folder in CheXpert's layout; images of its train.csv are drawn.
        output: JSON file to write.
        count: number of images.
        size: side of the images in pixels.
        networks: members of the classifier bundle (configs/members), with commas between.
        repeats: measurements of each engine and row.
        seed: of the images drawn and of the weights.
        quiet: show no progress.
    """
    names = list_argument(networks)
    members = committee_definition(names)["members"]
    config = json.loads((bundles_folder() / "doll_cxr_label_generation" / "configs" / "inference.json").read_text())
    config |= {"image_size": [size, size], "network": "$@network_def.to(@device, memory_format=torch.channels_last)"}
    image, wanted = _images(ConfigParser(config), Path(data), count, seed)
    found: list[dict[str, Any]] = []
    with tqdm(total=len(members) * len(ROWS) * repeats * 2, desc="measure", disable=quiet) as bar:
        for name, member in zip(names, members, strict=True):
            network = {"network_def": {"_target_": "doll_monai.networks.Committee", "members": [member]}}
            trial = Job(config | network, image, wanted, seed=seed)
            trial = replace(trial, batch_size=in_own_process(fastest_batch_size, trial.one_target()))
            for (row, values), repeat in product(ROWS.items(), range(repeats)):
                job = replace(trial, config=trial.config | values, together=row != "as_called")
                for engine in ENGINES[:: 1 if repeat % 2 == 0 else -1]:
                    measured = in_own_process(measure, replace(job, engine=engine))
                    found.append({"row": row, "engine": engine, "network": name, **measured})
                    bar.update()
    medians = pd.DataFrame(found).groupby(["row", "engine", "network"], sort=False).median()
    figures: dict[str, Any] = {row: _row(medians.loc[row], count) for row in ROWS}
    print(pd.json_normalize(list(figures.values())).set_axis(list(ROWS)).T.to_string(float_format="{:,.3f}".format))
    figures |= {"networks": names, "images": count, "positive_observations": int(wanted.sum()), "size": size}
    figures |= {"repeats": repeats, "seed": seed, "threads": torch.get_num_threads(), "torch": torch.__version__}
    figures["device"] = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    write_atomic(Path(output), (json.dumps(figures, indent=2) + "\n").encode())


def _images(bundle: ConfigParser, data: Path, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images drawn at random, (B, 1, H, W), those with positive observations first, and the targets to explain."""
    found, _ = read_chexpert(data, "train.csv")
    if not 1 <= count <= len(found):
        raise InputError(f"count must be from 1 to the {len(found)} images of {data}, not {count}.")
    drawn = [found[i] for i in np.random.default_rng(seed).permutation(len(found))[:count]]
    preprocessing = bundle.get_parsed_content("preprocessing")
    items = [preprocessing({"image": str(data / record.image), "label": record.values}) for record in drawn]
    wanted = np.stack([np.asarray(item["label"]) >= 0.5 for item in items])
    wanted[:, [finding_index(name) for name in bundle.get_parsed_content("unlocalized")]] = False
    if not wanted.any():
        raise InputError(f"None of the {count} images drawn has a positive observation; give more images, or a seed.")
    order = np.argsort(~wanted.any(axis=1), kind="stable")
    return np.stack([np.asarray(items[i]["image"], dtype=np.float32) for i in order]), wanted[order]


def _row(medians: pd.DataFrame, count: int) -> dict[str, Any]:
    """Images a second of all networks, their ratio, steps and memory, from a table by engine and network."""
    seconds = medians["seconds"].unstack("engine")
    total = seconds.sum()
    return {
        **{str(engine): count / value for engine, value in total.items()},
        "ratio": float(total["captum"] / total["ours"]),
        "ratio_by_network": (seconds["captum"] / seconds["ours"]).to_dict(),
        "steps": medians["steps"].groupby("engine").mean().to_dict(),
        "peak_memory": medians["peak_memory"].groupby("engine").max().to_dict(),
    }


@dataclass(frozen=True)
class Job:
    """What is measured: targets ``wanted``, (B, 14) bool, of ``image``, (B, 1, H, W) float32.

    ``config`` is the label bundle's, with a committee of one network. captum explains several images of a target in one
    call where ``together`` is true; ``batch_size`` is its ``internal_batch_size``.
    """

    config: dict[str, Any]
    image: np.ndarray
    wanted: np.ndarray
    engine: str = "captum"
    together: bool = True
    batch_size: int = 0
    seed: int = 0

    def one_target(self) -> Job:
        """The first target of the first image alone."""
        first = self.wanted[:1] & (np.arange(self.wanted.shape[1]) == self.wanted[0].argmax())
        return replace(self, image=self.image[:1], wanted=first)


def in_own_process(function: Callable[[Job], Any], job: Job) -> Any:
    """What a function returns that a new process runs."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, job).result()


def measure(job: Job) -> dict[str, float]:
    """``seconds`` for all images, ``peak_memory`` in bytes beyond the network's, mean ``steps``."""
    warm_up, explain = _prepare(job.one_target()), _prepare(job)
    before = _peak_memory()
    warm_up()
    seconds, steps = _timed(explain)
    return {"seconds": seconds, "peak_memory": _peak_memory() - before, "steps": float(np.mean(steps))}


def fastest_batch_size(job: Job) -> int:
    """captum's fastest ``internal_batch_size``, best of two trials."""
    trials = [(_timed(_prepare(replace(job, batch_size=size)))[0], size) for size in BATCH_SIZES * 2]
    return min(trials)[1]


def _prepare(job: Job) -> Callable[[], list[float]]:
    """The function that explains the images and returns the steps of each of their targets."""
    torch.manual_seed(job.seed)
    parser = ConfigParser(job.config)
    explainer = parser.get_parsed_content("explainer")
    network = explainer.networks[0].eval().requires_grad_(False)
    device, batch_size = (parser.get_parsed_content(name) for name in ("device", "batch_size"))
    image, wanted = torch.from_numpy(job.image).to(device), torch.from_numpy(job.wanted).to(device)

    def ours() -> list[float]:
        steps: list[float] = []
        for x, targets in zip(image.split(batch_size), wanted.split(batch_size), strict=True):
            steps += explainer.explain(0, network, x, targets)[1]["n_steps"][targets].tolist()
        return steps

    def captum() -> list[float]:
        reference = IntegratedGradients(network)
        for target in wanted.any(dim=0).nonzero().flatten().tolist():
            for index in wanted[:, target].nonzero().flatten().split(job.batch_size if job.together else 1):
                reference.attribute(image[index], 0.0, target, None, CAPTUM_STEPS, internal_batch_size=job.batch_size)
        return [CAPTUM_STEPS] * int(wanted.sum())

    return ours if job.engine == "ours" else captum


def _timed(explain: Callable[[], list[float]]) -> tuple[float, list[float]]:
    start = time.perf_counter()
    steps = explain()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start, steps


def _peak_memory() -> float:
    """Bytes that this process, or its GPU, has had in use at most; NaN on Windows without a GPU."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    if sys.platform == "win32":
        return float("nan")
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
