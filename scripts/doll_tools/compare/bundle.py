"""A task's bundle as the benchmark runs it: its configuration, its networks, its commands."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from torch import nn

from doll_monai.networks.weights import load_backbone, load_pretrained
from doll_monai.utils.errors import InputError, sentence_of
from doll_monai.utils.json_object import read_json_object
from doll_tools.arguments import bundles_folder
from doll_tools.compare.cells import Cell, values_of
from doll_tools.compare.initializations import BACKBONE, Initialization

TRAINING, SCORING = ("train",), ("train", "evaluate")
OURS = {"train": Path(__file__).with_name("train.json"), "evaluate": Path(__file__).with_name("score.json")}
"""What the benchmark adds to the last configuration of a run."""
OUR_VALUES = (
    *("bundle_root", "dataset_dir", "label_dir", "datalist", "section", "output_dir", "ckpt_dir", "checkpoint"),
    *("pretrained", "seed", "max_epochs", "iterations_per_epoch", "classes", "elsewhere"),
)
"""Values that the benchmark sets."""


@dataclass
class TaskBundle:
    """A segmentation bundle with ``train.json`` and ``evaluate.json``.

    Args:
        name: of the bundle.
        network: configuration file with another ``network_def``, or parts of one; None for the bundle's own.
        values: overrides of the bundle's values.
        cell_values: ``INITIALIZATION/TUNING`` to overrides of those cells alone, see ``values_of``.

    Attributes:
        classes: one channel each; the bundle's own unless others are set.

    Raises:
        InputError: when there is no such bundle, it has no such value, or the file has no ``network_def``.
    """

    name: str
    network: Path | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    cell_values: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder, name, network = bundles_folder() / self.name, self.name, self.network
        if not all((self.folder / "configs" / f"{config}.json").is_file() for config in SCORING):
            known = sorted(path.parents[1].name for path in bundles_folder().glob("*/configs/train.json"))
            raise InputError(f"There is no bundle '{name}' that trains; there are: {', '.join(known)}.")
        if network is not None and not any(key.startswith("network_def") for key in read_json_object(network)):
            raise InputError(f"{network} has no network_def; write it as in {name}/configs/train.json.")
        self.config: dict[str, Any] = ConfigParser.load_config_files([str(path) for path in self.configs(TRAINING)])
        self.classes: list[str] = list(self.config["classes"])
        for value in (value for values in (self.values, *self.cell_values.values()) for value in values):
            first = value.partition("::")[0]
            if first not in self.config:
                raise InputError(f"The bundle {name} has no value '{value}'; see the knobs in its train.json.")
            if first in OUR_VALUES or value == "network_def::tuning":
                raise InputError(f"The value '{value}' is set for each cell; leave it out.")

    def configs(self, names: Sequence[str]) -> list[Path]:
        """The bundle's configurations, the benchmark's own addition to the last of them, the network's."""
        own = [self.folder / "configs" / f"{name}.json" for name in names]
        return [*own, OURS[names[-1]], *([self.network] if self.network else [])]

    def overrides(self, cell: Cell) -> dict[str, Any]:
        """Values of the bundle for a cell: its tuning, the classes, one channel each, and those that were given."""
        channels = {"classes": self.classes, "network_def::network::out_channels": len(self.classes)}
        return {"network_def::tuning": cell.tuning, **channels, **self.values, **values_of(cell, self.cell_values)}

    def build(self, cell: Cell, name: str = "network_def") -> nn.Module:
        """A cell's network with the seed's weights; ``InputError`` when it cannot be built."""
        parser = ConfigParser(copy.deepcopy(self.config))
        parser.update(self.overrides(cell))
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(cell.seed)
                network: nn.Module = parser.get_parsed_content(name)
        except Exception as error:  # whatever a wrong value makes a network's constructor raise
            raise InputError(sentence_of(error) or f"The network_def cannot be built: {error}") from error
        return network

    def initialized(self, initialization: Initialization, cell: Cell) -> nn.Module:
        """The plain network with a seed's weights and those of the checkpoint; ``InputError`` when it does not fit."""
        network = self.build(cell, "network_def::network")
        if initialization.part == BACKBONE:
            return load_backbone(network, initialization.source, initialization.member)
        return load_pretrained(network, initialization.source, self.config["network_def"].get("head", "head"))
