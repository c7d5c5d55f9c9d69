"""Images of noise with labels of every kind, and what a bundle's run on them takes."""

from __future__ import annotations

import hashlib
import os
import socket
import time
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser, ConfigWorkflow
from PIL import Image

from doll_monai.data.datalist import write_datalist
from doll_monai.data.label_files import write_label
from doll_monai.findings import IGNORE
from narrow import has, kind_of, outputs, read_config, smaller

LAYERS = {"resnet": "layer4", "densenet": "features.denseblock3", "efficientnet": "features.denseblock3"}
LAYERS |= {"efficientnetlite": "layer4", "pyramidclassifier": "features.denseblock3"}
UNNORMED = {"_target_": "SegResNet", "spatial_dims": 2, "in_channels": 1, "init_filters": 8, "blocks_down": [1, 1]}
UNNORMED |= {"blocks_up": [1], "norm": ["group", {"num_groups": 4}]}
"""A network without BatchNorm, whose statistics would be of half the batch in each of two processes."""


def write_images(folder: Path, count: int = 12, size: tuple[int, int] = (52, 44)) -> Path:
    """Images of noise with a bright rectangle, masks of 1, 3 and 14 channels, observations, and ground truth.

    Of each kind of label there is a datalist, with two thirds of the images for training; they are below ``images``.
    """
    generator = np.random.default_rng(0)
    records: dict[str, list[dict]] = {}
    rows = ["Path,finding,x,y,width,height"]
    width, height = size
    for number in range(count):
        image = f"train/patient{number:05d}/study1/view1_frontal.png"
        values = generator.integers(0, 120, (height, width), dtype=np.uint8)
        values[10:20, 12:30] += 100
        (folder / "images" / image).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values).save(folder / "images" / image)
        for channels in (1, 3, 14):
            mask = np.zeros((channels, width, height), np.uint8)
            mask[:, 12:30, 10:20] = 1
            mask[1:, 30:32] = IGNORE if channels == 14 else 0
            label = f"labels{channels}/{number}.nii.gz"
            write_label(folder / label, mask)
            records.setdefault(str(channels), []).append({"image": image, "label": label})
        observations: list = [float((number + channel) % 2) for channel in range(12)] + [-1.0, None]
        records.setdefault("observations", []).append({"image": image, "label": observations})
        rows += [f"{image},Edema,0.2,0.2,0.4,0.3", f"{image},Pneumonia,0.5,0.5,0.2,0.2"]
    (folder / "truth.csv").write_text("\n".join(rows) + "\n")
    part = count // 6
    for kind, listed in records.items():
        sections = {"training": listed[: -2 * part], "validation": listed[-2 * part : -part], "test": listed[-part:]}
        write_datalist(folder / f"{kind}.json", sections)
    return folder


def on_images(bundle: Path, images: Path, output: Path, configs: Sequence[str] = ("train",)) -> dict[str, Any]:
    """Small values of a run on the images of ``write_images``; only ids that the configurations have."""
    known: dict[str, Any] = {}
    for name in configs:
        known.update(read_config(bundle, name))
    masks = has(bundle, "train") and "label_dir" in read_config(bundle, "train")
    members = known["network_def"].get("members", []) if "network_def" in known else []
    values = {
        "bundle_root": str(bundle),
        "dataset_dir": str(images / "images"),
        "label_dir": str(images),
        "datalist": str(images / (f"{outputs(bundle)['num_channels']}.json" if masks else "observations.json")),
        "output_dir": str(output),
        "ckpt_dir": str(output),
        "checkpoint": str(output / "model.pt"),
        "network_def": smaller(known["network_def"]),
        "image_size": [32, 32],
        "batch_size": 2,
        "num_workers": 0,
        "precision": "float32",
        "max_epochs": 1,
        "val_interval": 1,
        "ig_steps": 2,
        "ground_truth": str(images / "truth.csv"),
        "gradcam_layers": [LAYERS[str(kind_of(member))] for member in members],
    }
    if known["datalist"] is None:
        del values["datalist"]
    return {name: value for name, value in values.items() if name in known}


def write_weights(bundle: Path, values: dict[str, Any], seed: int = 0) -> None:
    """Seeded weights of the network of a run's values, to its checkpoint."""
    torch.manual_seed(seed)
    config = {**read_config(bundle, "inference"), "network_def": values["network_def"]}
    network = ConfigParser(config).get_parsed_content("network_def")
    Path(values["checkpoint"]).parent.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), values["checkpoint"])


def files(bundle: Path, configs: Sequence[str | Path]) -> list[str]:
    """Paths of configurations that are given by their names in the bundle, or as paths."""
    return [str(bundle / "configs" / f"{name}.json") if isinstance(name, str) else str(name) for name in configs]


def workflow(bundle: Path, configs: Sequence[str | Path], values: dict[str, Any]) -> ConfigWorkflow:
    """A bundle's workflow, initialized; every property that MONAI knows is there."""
    kind = "train" if configs[0] == "train" else "infer"
    made = ConfigWorkflow(files(bundle, configs), logging_file=False, workflow_type=kind, **values)
    made.initialize()
    assert made.check_properties() == []
    return made


def run(bundle: Path, configs: Sequence[str | Path], values: dict[str, Any]) -> ConfigWorkflow:
    """Run a bundle's workflow in this process, with one thread."""
    torch.set_num_threads(1)
    made = workflow(bundle, configs, values)
    made.run()
    made.finalize()
    return made


def start(*arguments: Any, **environment: str) -> BaseProcess:
    """``run`` in a process of its own, a fork, which need not import anything."""

    def child() -> None:
        os.environ.update(environment)
        run(*arguments)

    process = get_context("fork").Process(target=child)
    process.start()
    return process


def run_shared(*arguments: Any, count: int = 2) -> None:
    """``run`` in several processes, with what ``torchrun`` tells them."""
    with socket.create_server(("localhost", 0)) as server:
        port = server.getsockname()[1]
    told = {"WORLD_SIZE": str(count), "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    processes = [start(*arguments, RANK=str(rank), LOCAL_RANK=str(rank), **told) for rank in range(count)]
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * count


def kill_when(moment: Callable[[], bool], *arguments: Any) -> None:
    """``run`` in a process of its own until a moment has come, then ``kill -9``."""
    process = start(*arguments)
    while not moment():
        assert process.is_alive() or moment(), "the run ended before the moment came"
        time.sleep(0.005)
    process.kill()
    process.join()


def digests(folder: Path) -> dict[str, str]:
    """Content of every file of a folder, temporary ones included."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def nothing_random(bundle: Path, images: Path, output: Path, batch_size: int) -> dict[str, Any]:
    """Two iterations an epoch, two epochs, always the same images in the same order, no BatchNorm."""
    network = {**UNNORMED, "out_channels": outputs(bundle)["num_channels"]}
    values = on_images(bundle, images, output) | {"batch_size": batch_size, "max_epochs": 2}
    values |= {"train::random_transforms": [], "train::dataloader::shuffle": False}
    if outputs(bundle)["type"] == "probabilities":
        dense = {"spatial_dims": 2, "in_channels": 1, "out_channels": 14, "norm": ["group", {"num_groups": 4}]}
        dense |= {"init_features": 8, "growth_rate": 8, "block_config": [1, 1]}
        return values | {"network_def": {"_target_": "DenseNet121", **dense}}
    if "tuning" in values["network_def"]:
        network = {"_target_": "doll_monai.networks.AdaptedNetwork", "network": network}
        network |= {"tuning": "full", "head": "conv_final"}
    values |= {"optimizer::params": "$@network.parameters()", "lr_scheduler::max_lr": "@learning_rate"}
    return values | {"network_def": network}
