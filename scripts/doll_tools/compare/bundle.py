"""A task's bundle as the instrument runs it: its configuration, its networks, its commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from torch import nn

from doll_monai.networks.initialization import start_from_backbone, start_from_network
from doll_monai.networks.parameters import ParameterCount, count_parameters
from doll_monai.networks.weights import save_weights
from doll_monai.utils.errors import InputError, sentence_of
from doll_monai.utils.json_object import read_json_object
from doll_tools.compare.starts import BACKBONE, NOTHING, Start
from doll_tools.pipeline.stages import bundle_run

FOLDER = Path(__file__).parent
TRAINING = ("train",)
SCORING = ("train", "evaluate")
OUR_VALUES = (
    *("bundle_root", "dataset_dir", "label_dir", "datalist", "section", "output_dir", "ckpt_dir", "checkpoint"),
    *("pretrained", "seed", "max_epochs", "iterations_per_epoch", "classes", "elsewhere"),
)
"""Values that the instrument sets."""


class TaskBundle:
    """A segmentation bundle with ``train.json`` and ``evaluate.json``.

    Args:
        bundles: folder of the bundles.
        name: of the bundle.
        network: configuration file with another ``network_def``, or parts of one; None for the bundle's own.
        classes: names of the classes, one channel each; None for the bundle's own.

    Raises:
        InputError: when there is no such bundle, or the file has no ``network_def``.
    """

    def __init__(
        self, bundles: Path, name: str, network: Path | None = None, classes: Sequence[str] | None = None
    ) -> None:
        self.folder, self.name, self._network = bundles / name, name, network
        if not all((self.folder / "configs" / f"{config}.json").is_file() for config in SCORING):
            known = sorted(path.parent.parent.name for path in bundles.glob(f"*/configs/{TRAINING[0]}.json"))
            raise InputError(f"There is no bundle '{name}' that trains; there are: {', '.join(known)}.")
        if network is not None and not any(key.startswith("network_def") for key in read_json_object(network)):
            raise InputError(f"{network} has no network_def; write it as in {name}/configs/train.json.")
        self.config: dict[str, Any] = ConfigParser.load_config_files(list(map(str, self.configs(TRAINING))))
        if "tuning" not in self.config["network_def"]:
            raise InputError(f"The network_def of {network or name} has no tuning; it must be an AdaptedNetwork.")
        self.classes = list(classes) if classes else self._own_classes()

    def configs(self, names: Sequence[str]) -> list[Path]:
        """The bundle's configurations, the instrument's own addition to the last of them, the network's."""
        own = [self.folder / "configs" / f"{name}.json" for name in names]
        ours = FOLDER / ("score.json" if names == SCORING else "train.json")
        return [*own, ours, *([self._network] if self._network else [])]

    def check_values(self, values: Mapping[str, Any]) -> None:
        """Refuse overrides that the bundle has no use for.

        Raises:
            InputError: for a value that it does not have, or that the instrument sets.
        """
        for name in values:
            first = name.partition("::")[0]
            if first not in self.config:
                raise InputError(f"The bundle {self.name} has no value '{name}'; see the knobs in its train.json.")
            if first in OUR_VALUES or name == "network_def::tuning":
                raise InputError(f"The value '{name}' is set for each cell; leave it out.")

    def channels(self) -> dict[str, int]:
        """Override that gives the network one channel a class."""
        return {"network_def::network::out_channels": len(self.classes)}

    def label_channels(self, count: int | None) -> dict[str, int | str]:
        """Overrides for the number of channels that labels must have; None takes what comes."""
        # MONAI takes an override that is None for one that is not there
        return {"train::label_loading::channels": "$None" if count is None else count}

    def build(self, tuning: str, values: Mapping[str, Any], seed: int = 0) -> nn.Module:
        """The adapted network of a tuning, with the weights that a seed draws.

        Raises:
            InputError: when it cannot be built.
        """
        return self._parsed("network_def", {**values, "network_def::tuning": tuning}, seed)

    def parameters(self, tuning: str, values: Mapping[str, Any]) -> ParameterCount:
        """Numbers of trainable and of all parameters."""
        return count_parameters(self.build(tuning, values))

    def initialized(self, start: Start, values: Mapping[str, Any], seed: int) -> nn.Module:
        """The plain network at its start: a seed's weights, where no checkpoint says otherwise.

        Raises:
            InputError: when the checkpoint does not fit.
        """
        network = self._parsed("network_def::network", values, seed)
        if start.part == NOTHING or start.source is None:
            return network
        if start.part == BACKBONE:
            return start_from_backbone(network, start.source, start.member)
        return start_from_network(network, start.source, self.config["network_def"].get("head", "head"))

    def write_start(self, start: Start, values: Mapping[str, Any], seed: int, path: Path) -> None:
        """Write the ``pretrained`` checkpoint of a start; the same weights give the same file."""
        save_weights(self.initialized(start, values, seed).state_dict(), path)

    def command(self, names: Sequence[str], values: Mapping[str, Any]) -> list[str]:
        """The ``monai.bundle run`` command."""
        return bundle_run(self.configs(names), self.folder, **values)

    def _parsed(self, name: str, values: Mapping[str, Any], seed: int) -> nn.Module:
        parser = ConfigParser(ConfigParser.load_config_files(list(map(str, self.configs(TRAINING)))))
        parser.update({**self.channels(), **values})
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                network = parser.get_parsed_content(name)
        except Exception as error:
            root = error
            while root.__cause__ is not None:
                root = root.__cause__  # type: ignore[assignment]
            raise InputError(sentence_of(error) or f"The network_def cannot be built: {root}") from error
        if not isinstance(network, nn.Module):
            raise InputError(f"{name} of the bundle {self.name} is no network.")
        return network

    def _own_classes(self) -> list[str]:
        metadata = read_json_object(self.folder / "configs" / "metadata.json")
        channels = metadata["network_data_format"]["outputs"]["pred"]["channel_def"]
        return [str(channels[key]) for key in sorted(channels, key=int)]
