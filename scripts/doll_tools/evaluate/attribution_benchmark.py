"""Speed and memory of our Integrated Gradients beside captum's: the same networks, images and positive observations."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser
from tqdm import tqdm

from doll_monai.findings import finding_index
from doll_monai.utils.atomic import write_atomic
from doll_monai.utils.errors import InputError
from doll_tools.arguments import list_argument
from doll_tools.evaluate.engines import CAPTUM_STEPS, Job, Measurement, fastest_batch_size, in_own_process, measure
from doll_tools.folders import bundles_folder
from doll_tools.prepare.chexpert import read_chexpert
from doll_tools.release.committee import committee_definition

ENGINES = ("ours", "captum")
ROWS: dict[str, dict[str, Any]] = {
    "float32_equal_steps": {"precision": "float32", "ig_method": "gausslegendre", "ig_steps": CAPTUM_STEPS},
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
    """Write images a second and peak memory of both as JSON, and print a table.

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
    found: dict[tuple[str, str, str], list[Measurement]] = {}
    with tqdm(total=len(members) * len(ROWS) * repeats * 2, desc="measure", disable=quiet) as bar:
        for name, member in zip(names, members, strict=True):
            network = {"network_def": {"_target_": "doll_monai.networks.Committee", "members": [member]}}
            trial = Job(config | network, image, wanted, "captum", True, 0, seed)
            batch_size = in_own_process(fastest_batch_size, trial)
            for row, values in ROWS.items():
                for repeat in range(repeats):
                    for engine in ENGINES[:: 1 if repeat % 2 == 0 else -1]:
                        together = row != "as_called"
                        job = Job(config | network | values, image, wanted, engine, together, batch_size, seed)
                        found.setdefault((row, engine, name), []).append(in_own_process(measure, job))
                        bar.update()
    figures = {row: _row(row, names, found, count) for row in ROWS} | {
        "networks": names,
        "images": count,
        "positive_observations": int(wanted.sum()),
        "size": size,
        "repeats": repeats,
        "seed": seed,
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "torch": torch.__version__,
    }
    write_atomic(Path(output), (json.dumps(figures, indent=2) + "\n").encode())
    print(_table(figures))


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


def _row(
    row: str, names: list[str], found: dict[tuple[str, str, str], list[Measurement]], count: int
) -> dict[str, Any]:
    """Images a second of all networks, their ratio (also by network), mean steps, and peak memory in bytes."""
    runs = {(engine, name): found[row, engine, name] for engine in ENGINES for name in names}
    seconds = {key: median(run.seconds for run in own) for key, own in runs.items()}
    total = {engine: sum(seconds[engine, name] for name in names) for engine in ENGINES}
    return {
        **{engine: count / total[engine] for engine in ENGINES},
        "ratio": total["captum"] / total["ours"],
        "ratio_by_network": {name: seconds["captum", name] / seconds["ours", name] for name in names},
        "steps": {engine: mean(runs[engine, name][0].steps for name in names) for engine in ENGINES},
        "peak_memory": {
            engine: max(median(run.peak_memory for run in runs[engine, name]) for name in names) for engine in ENGINES
        },
    }


def _table(figures: dict[str, Any]) -> str:
    lines = [f"{'':20} {'images/s':>17} {'ratio':>6} {'steps':>11} {'peak memory, GB':>17}"]
    lines.append(f"{'':20} {'ours':>8} {'captum':>8} {'':>6} {'ours':>5} {'captum':>6} {'ours':>8} {'captum':>8}")
    for row in ROWS:
        own = figures[row]
        steps, memory = own["steps"], {engine: own["peak_memory"][engine] / 1e9 for engine in ENGINES}
        speed = f"{row:20} {own['ours']:8.3f} {own['captum']:8.3f} {own['ratio']:6.2f}"
        lines.append(
            f"{speed} {steps['ours']:5.1f} {steps['captum']:6.1f} {memory['ours']:8.2f} {memory['captum']:8.2f}"
        )
    return "\n".join(lines)
