"""Images of noise, and what a training on them takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from doll_monai.data.datalist import write_datalist
from doll_monai.data.label_files import write_label
from narrow import outputs

UNNORMED = {"_target_": "SegResNet", "spatial_dims": 2, "in_channels": 1, "init_filters": 8, "blocks_down": [1, 1]}
UNNORMED |= {"blocks_up": [1], "norm": ["group", {"num_groups": 4}]}
"""A network without BatchNorm, whose statistics would be of half the batch in each of two processes."""


def write_images(folder: Path) -> Path:
    """Twelve images of noise with masks of 1, 3 and 14 channels and with observations, and a datalist of each."""
    generator = np.random.default_rng(0)
    records: dict[str, list[dict]] = {}
    for number in range(12):
        Image.fromarray(generator.integers(0, 255, (32, 32), dtype=np.uint8)).save(folder / f"{number}.png")
        for channels in (1, 3, 14):
            mask = (generator.random((channels, 32, 32)) < 0.5).astype(np.uint8)
            write_label(folder / f"labels{channels}" / f"{number}.nii.gz", mask)
            record = {"image": f"{number}.png", "label": f"labels{channels}/{number}.nii.gz"}
            records.setdefault(str(channels), []).append(record)
        record = {"image": f"{number}.png", "label": [float((number + k) % 2) for k in range(14)]}
        records.setdefault("observations", []).append(record)
    for kind, rows in records.items():
        write_datalist(folder / f"{kind}.json", {"training": rows[:8], "validation": rows[8:]})
    return folder


def on_images(bundle: Path, images: Path, output: Path) -> dict[str, Any]:
    """Values of a bundle's training on the images of ``write_images``."""
    classifies, channels = _kind(bundle)
    values: dict[str, Any] = {
        "bundle_root": str(bundle),
        "dataset_dir": str(images),
        "datalist": str(images / ("observations.json" if classifies else f"{channels}.json")),
        "output_dir": str(output),
        "ckpt_dir": str(output),
        "val_interval": 1,
        "num_workers": 0,
        "precision": "float32",
    }
    return values if classifies else {**values, "label_dir": str(images)}


def nothing_random(bundle: Path, images: Path, output: Path, batch_size: int) -> dict[str, Any]:
    """Two iterations an epoch, two epochs, always the same images in the same order, no BatchNorm."""
    classifies, channels = _kind(bundle)
    network = {**UNNORMED, "out_channels": channels}
    values = on_images(bundle, images, output)
    values |= {"image_size": [32, 32], "batch_size": batch_size, "max_epochs": 2}
    values |= {"train::random_transforms": [], "train::dataloader::shuffle": False}
    if classifies:
        values["network_def"] = {
            "_target_": "DenseNet121",
            **{"spatial_dims": 2, "in_channels": 1, "out_channels": 14, "norm": ["group", {"num_groups": 4}]},
            **{"init_features": 8, "growth_rate": 8, "block_config": [1, 1]},
        }
    elif "tuning" in json.loads((bundle / "configs" / "train.json").read_text())["network_def"]:
        values["network_def"] = {"_target_": "doll_monai.networks.AdaptedNetwork"}
        values["network_def"] |= {"network": network, "tuning": "full", "head": "conv_final"}
        values["optimizer::params"] = "$@network.parameters()"
        values["lr_scheduler::max_lr"] = "@learning_rate"
    else:
        values["network_def"] = network
        values["optimizer::params"] = "$@network.parameters()"
        values["lr_scheduler::max_lr"] = "@learning_rate"
    return values


def _kind(bundle: Path) -> tuple[bool, int]:
    """Whether a bundle classifies, and how many channels it predicts."""
    pred = outputs(bundle)
    return pred["type"] == "probabilities", pred["num_channels"]
