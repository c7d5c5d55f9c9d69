"""Speed and memory of our Integrated Gradients beside captum's: the same networks, images and positive observations."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from monai.bundle import ConfigParser
from tqdm import tqdm

from doll_monai.findings import finding_index
from doll_monai.utils.atomic import write_atomic
from doll_monai.utils.errors import InputError
from doll_tools.arguments import list_argument
from doll_tools.evaluate.engines import CAPTUM_STEPS, Job, fastest_batch_size, in_own_process, measure
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
    found = []
    with tqdm(total=len(members) * len(ROWS) * repeats * 2, desc="measure", disable=quiet) as bar:
        for name, member in zip(names, members, strict=True):
            network = {"network_def": {"_target_": "doll_monai.networks.Committee", "members": [member]}}
            trial = Job(config | network, image, wanted, seed=seed)
            trial = replace(trial, batch_size=in_own_process(fastest_batch_size, trial))
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
    """Images a second of all networks, their ratio (also by network), mean steps, and peak memory.

    Args:
        medians: ``seconds``, ``steps`` and ``peak_memory`` by engine and network.
        count: number of images.
    """
    seconds = medians["seconds"].unstack("engine")
    total = seconds.sum()
    return {
        **(count / total).to_dict(),
        "ratio": float(total["captum"] / total["ours"]),
        "ratio_by_network": (seconds["captum"] / seconds["ours"]).to_dict(),
        "steps": medians["steps"].groupby("engine").mean().to_dict(),
        "peak_memory": medians["peak_memory"].groupby("engine").max().to_dict(),
    }
