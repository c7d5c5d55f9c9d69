"""Which bundles are served, with which networks and weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from doll_monai.networks.weights import file_hash
from doll_monai.utils.errors import InputError

TASKS = ("lung_cxr_segmentation", "jsrt_cxr_segmentation", "covid_cxr_segmentation")
"""Bundles that people annotate for, and that learn from it."""
FINDINGS_BUNDLE = "doll_cxr_segmentation"
CLASSIFIER_BUNDLE = "chexpert_cxr_classification"


@dataclass(frozen=True)
class ServedBundle:
    """One bundle as it is served.

    Args:
        root: the bundle's folder; its name is the model's name in MONAI Label.
        changes: a configuration file that changes its own, such as a pipeline's ``task_network.json``.
        image_size: width and height of what the network gets; the bundle's own when None.
        checkpoint: the whole network's weights before anything is trained here, or None.
        pretrained: the pre-trained network behind adapters, or None.
        adapter: adapters and head for ``pretrained`` before anything is trained here, or None.
    """

    root: Path
    changes: Path | None = None
    image_size: list[int] | None = None
    checkpoint: Path | None = None
    pretrained: Path | None = None
    adapter: Path | None = None

    @property
    def fingerprint(self) -> str:
        """Beginning of the pre-trained network's hash, which keeps adapters for another one apart."""
        return "no_pretrained" if self.pretrained is None else file_hash(self.pretrained)[:12]

    def config_files(self, name: str) -> list[str]:
        """The bundle's configuration file of this name, and what changes it."""
        return [str(path) for path in (self.root / "configs" / name, self.changes) if path]

    def parser(self) -> ConfigParser:
        """The configuration of its inference."""
        parser = ConfigParser()
        parser.read_config(self.config_files("inference.json"))
        parser["bundle_root"] = str(self.root)
        if self.image_size is not None:
            parser["image_size"] = self.image_size
        return parser

    @property
    def classes(self) -> list[str]:
        """Names of the network's channels."""
        metadata = ConfigParser.load_config_file(self.root / "configs" / "metadata.json")
        return list(metadata["network_data_format"]["outputs"]["pred"]["channel_def"].values())


def find_bundles(conf: Mapping[str, str]) -> dict[str, ServedBundle]:
    """What can be served, by name.

    Args:
        conf: as MONAI Label hands it to the app. ``bundles`` is the folder of the bundles, whose own weights in
            ``models/`` are taken without a run; ``run`` a folder that ``doll run`` wrote, whose networks and weights
            are taken; ``image_size`` the side of what a task's network gets, if not the run's.

    Raises:
        InputError: when a folder is missing, or nothing in it can be served.
    """
    bundles, run = Path(conf["bundles"]), Path(conf["run"]) if "run" in conf else None
    image_size = int(conf["image_size"]) if "image_size" in conf else None
    if not (bundles / CLASSIFIER_BUNDLE).is_dir():
        raise InputError(f"There are no bundles in {bundles}; give --bundles, the folder of the bundles.")
    if run is not None and not (run / "pretraining" / "model.pt").is_file():
        raise InputError(f"{run} has no pretraining/model.pt; give --run, a folder of a finished pipeline.")
    served = {}
    for name in (*TASKS, FINDINGS_BUNDLE, CLASSIFIER_BUNDLE):
        root = bundles / name
        bundle = _of_run(root, run, image_size) if run else _of_bundle(root)
        if bundle.checkpoint or bundle.pretrained:
            served[name] = bundle
    if not served:
        raise InputError(
            f"No bundle in {bundles} has weights; run `doll demo` and give --run, the folder that it wrote."
        )
    return served


def _of_bundle(root: Path) -> ServedBundle:
    models = root / "models"
    return ServedBundle(root, checkpoint=_file(models / "model.pt"), pretrained=_file(models / "pretrained.pt"))


def _of_run(root: Path, run: Path, image_size: int | None) -> ServedBundle:
    """A bundle with what a pipeline made for it."""
    configs, pretrained = run / "configs", run / "pretraining" / "model.pt"
    try:
        size: Any = json.loads((configs / "executed" / "pretrain.json").read_text())["image_size"]
    except (OSError, ValueError, KeyError):
        size = None
    if root.name == CLASSIFIER_BUNDLE:
        return ServedBundle(root, configs / "committee.json", size, _file(run / "committee" / "model.pt"))
    if root.name == FINDINGS_BUNDLE:
        return ServedBundle(root, configs / "pretraining_network.json", size, pretrained)
    size = [image_size, image_size] if image_size else size
    adapter = _file(run / root.name.split("_")[0] / "adapter" / "adapter.pt")
    return ServedBundle(root, configs / "task_network.json", size, pretrained=pretrained, adapter=adapter)


def _file(path: Path) -> Path | None:
    return path if path.is_file() else None
