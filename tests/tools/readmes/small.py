"""Commands of the READMEs with small values, so that all of them run in minutes."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from doll_tools.check.command import files_of, split_arguments
from doll_tools.check.ids import MISSING, look_up
from narrow import MEMBERS

BACKBONE = json.loads((MEMBERS / "resnet10_narrow.json").read_text())["network_def"]
COMMITTEE = {"_target_": "doll_monai.networks.Committee", "members": [BACKBONE, BACKBONE]}
RUN: dict[str, Any] = {
    **{"image_size": [48, 48], "batch_size": 4, "max_epochs": 1, "num_workers": 0, "precision": "float32"},
    **{"ig_steps": 3, "ig_max_steps": 4, "ig_compile": False, "gradcam_layers": ["layer4", "layer4"]},
}
"""Values of `monai.bundle run`, of those that the configuration has."""
PROGRAMS: dict[str, dict[str, str]] = {
    "scripts/prepare_masks.py": {"training": "4", "validation": "3"},
    "scripts/compare_initializations.py": {"iterations": "2", "seeds": "1", "shots": "2", "image_size": "48"},
    "scripts/measure_pretraining_gain.py": {
        **{"qualities": "1.0,none", "images": "200", "seeds": "1", "iterations": "2", "pretraining_iterations": "2"},
        **{"image_size": "48", "image_size": "64", "validation_images": "4", "task_images": "60"},
    },
    "scripts/summarize_comparisons.py": {"shots": "2"},
    "scripts/evaluate_labels.py": {"image_size": "48", "ig_steps": "3", "resamples": "1000"},
    "scripts/benchmark_attribution.py": {
        **{"networks": "resnet10_narrow", "count": "8", "reference_count": "6", "size": "48"},
    },
    "scripts/benchmark_label_run.py": {"count": "6"},
    "scripts/benchmark_label_files.py": {"size": "32"},
}
"""Values of programs, in place of those in the README or beside them."""


def small(command: str, folder: Path) -> str:
    """One command of a README with small values; one with variables of the shell has them already.

    Args:
        command: a line for the shell.
        folder: where it runs, with the configuration files that it names.
    """
    if "$" in command:
        return re.sub(r"--count \d+", "--count 30", command).replace("--size 128", "--size 64")
    if not command.startswith(("python", "torchrun")):
        return command
    parts = shlex.split(command, comments=True)
    if "monai.bundle" in parts:
        return re.sub(
            r"--nproc_per_node=\d+", "--nproc_per_node=2", shlex.join([*parts, *_bundle_values(parts, folder)])
        )
    for name, value in PROGRAMS.get(next((part for part in parts if part in PROGRAMS), ""), {}).items():
        if f"--{name}" in parts:
            parts[parts.index(f"--{name}") + 1] = value
        else:
            parts += [f"--{name}", value]
    return shlex.join(parts)


def _bundle_values(parts: list[str], folder: Path) -> list[str]:
    verb = parts[parts.index("monai.bundle") + 1]
    arguments = parts[parts.index(verb) + 1 :]
    own, _ = split_arguments(arguments if verb == "run" else arguments[1:])
    config = ConfigParser.load_config_files([str(folder / file) for file in files_of(own["config_file"])])
    values = {name: value for name, value in RUN.items() if name in config} if verb == "run" else {}
    if "output/demo" not in str(own["config_file"]):
        values |= _network(config)
    if verb == "onnx_export":
        values["input_shape"] = [1, 1, 48, 48]
    return [text for name, value in values.items() for text in (f"--{name}", str(value))]


def _network(config: dict[str, Any]) -> dict[str, Any]:
    """The narrow network that stands in for the one of a bundle."""
    if look_up(config, "network_def::members") is not MISSING:
        return {"network_def": COMMITTEE}
    for name in ("network_def::network::backbone", "network_def::backbone"):
        if look_up(config, name) is not MISSING:
            return {name: BACKBONE}
    return {"network_def": BACKBONE}
