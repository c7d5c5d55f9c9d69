"""Which bundles are served, with which networks, and the adapters that were trained last while people annotate.

    OUTPUT/model/BUNDLE/HASH/0001/  adapter_0.pt, adapter_1.pt, stats.json
    OUTPUT/model/BUNDLE/HASH/0002/  ...

A training writes into a folder whose name ends in ``.part`` and is renamed at its end, so the folder with the highest
number is the last good version, whatever happens. Deleting it brings back the one before.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from torch import nn

from doll_monai.networks.committee import Committee
from doll_monai.networks.weights import file_hash, load_adapter, load_weights
from doll_monai.utils.errors import InputError
from doll_monai.utils.json_object import read_json_object

TASKS = ("lung_cxr_segmentation", "jsrt_cxr_segmentation", "covid_cxr_segmentation")  # which learn from annotators
FINDINGS_BUNDLE = "doll_cxr_segmentation"
CLASSIFIER_BUNDLE = "chexpert_cxr_classification"


@dataclass(eq=False)
class ServedModel:
    """Predictions of one bundle, by the network that was trained last.

    Args:
        root: the bundle's folder; its name is the model's name in MONAI Label.
        output: the app's folder.
        changes: a configuration file that changes the bundle's own, such as a pipeline's ``task_network.json``.
        image_size: width and height of what the network gets; the bundle's own when None.
        checkpoint: the whole network's weights before anything is trained here, or None.
        pretrained: the pre-trained network behind adapters, or None.
        adapter: adapters and head for ``pretrained`` before anything is trained here, or None.
    """

    root: Path
    output: Path
    changes: Path | None = None
    image_size: list[int] | None = None
    checkpoint: Path | None = None
    pretrained: Path | None = None
    adapter: Path | None = None

    def __post_init__(self) -> None:
        self.name = self.root.name
        metadata = ConfigParser.load_config_file(self.root / "configs" / "metadata.json")
        self.classes = list(metadata["network_data_format"]["outputs"]["pred"]["channel_def"].values())
        parser = self.parser()
        steps = parser["postprocessing"]["transforms"]  # the app itself thresholds
        parser["postprocessing"]["transforms"] = [step for step in steps if step["_target_"] != "AsDiscreted"]
        self.preprocessing, self._postprocessing, self._inferer = (
            parser.get_parsed_content(name) for name in ("preprocessing", "postprocessing", "inferer")
        )
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._networks: list[nn.Module] = []
        self._loaded: int | None = None
        self._lock = threading.RLock()
        self._remembered = lru_cache(4)(self._predict)  # a click does not ask the network again

    @cached_property
    def folder(self) -> Path:
        """Of the trained versions; those for another pre-trained network are kept apart."""
        return self.output / "model" / self.name / (file_hash(self.pretrained)[:12] if self.pretrained else "none")

    def config_files(self, name: str) -> list[str]:
        """The bundle's configuration file of this name, and what changes it."""
        return [str(path) for path in (self.root / "configs" / name, self.changes) if path]

    def parser(self) -> ConfigParser:
        """The configuration of the bundle's inference."""
        parser = ConfigParser()
        parser.read_config(self.config_files("inference.json"))
        parser["bundle_root"] = str(self.root)
        if self.image_size is not None:
            parser["image_size"] = self.image_size
        return parser

    @property
    def version(self) -> int:
        """Number of the adapters in use; 0 before the first training."""
        return max((int(path.name) for path in self.folder.glob("[0-9]*") if path.name.isdigit()), default=0)

    def adapters(self) -> list[Path]:
        """Files of the adapters in use, one a member of the ensemble; none for a whole network's own weights."""
        if number := self.version:
            return sorted((self.folder / f"{number:04d}").glob("adapter_*.pt"))
        return [self.adapter] if self.adapter else []

    def stats(self) -> dict[str, Any]:
        """How the adapters in use were trained; empty before the first training."""
        number = self.version
        return {"version": number, **read_json_object(self.folder / f"{number:04d}" / "stats.json")} if number else {}

    def begin(self) -> Path:
        """An empty folder for a training; what unfinished trainings left is deleted."""
        for left in self.folder.glob("*.part"):
            shutil.rmtree(left)
        started = self.folder / f"{self.version + 1:04d}.part"
        started.mkdir(parents=True)
        return started

    def publish(self, started: Path, stats: dict[str, Any]) -> None:
        """Put the adapters in a folder from ``begin`` to use; ``stats`` say how they were trained."""
        (started / "stats.json").write_text(json.dumps(stats))
        for extra in [path for path in started.iterdir() if path.is_dir()]:
            shutil.rmtree(extra)
        os.replace(started, started.with_suffix(""))

    def is_ready(self) -> bool:
        """Whether there is anything to predict with."""
        return bool(self.checkpoint or self.adapters())

    def networks(self) -> list[nn.Module]:
        """The members of the ensemble; an ``InputError`` when there are no weights, or those of another network."""
        with self._lock:
            if self._loaded != self.version:
                number, networks = self.version, []
                adapters: list[Path | None] = [*self.adapters()]
                for adapter in adapters or [None]:
                    network = self.parser().get_parsed_content("network_def")
                    if adapter is None:
                        load_weights(network, self.checkpoint or "")
                    else:
                        load_adapter(network, adapter, self.pretrained)
                    networks.append(network.eval().to(self._device))
                self._networks, self._loaded = networks, number
            return self._networks

    def member_logits(self, path: str) -> tuple[torch.Tensor, dict[str, Any]]:
        """Logits of every member in the network's own grid.

        Returns:
            (K, T, w, h), or (K, T) of a classifier; and the image after preprocessing.

        Raises:
            InputError: when the image cannot be read.
        """
        data = self.preprocessing({"image": path})
        image = data["image"][None].to(self._device).as_tensor()
        with self._lock, torch.inference_mode():
            members: list[nn.Module] = []
            for network in self.networks():
                members += network.members if isinstance(network, Committee) else [network]
            return torch.cat([self._inferer(image, member).float().cpu() for member in members]), data

    def probabilities(self, path: str) -> tuple[np.ndarray, np.ndarray]:
        """What is proposed for an image, by the mean of the members, in the image's own grid.

        Returns:
            (T, H, W) ``float32``, or (T,) of a classifier; and the image's affine, (4, 4).
        """
        with self._lock:
            values, affine = self._remembered(path, os.stat(path).st_mtime_ns, self.version)
        return values.astype(np.float32), affine

    def _predict(self, path: str, time: int, version: int) -> tuple[np.ndarray, np.ndarray]:
        """Args: path, of the image; time, of its last change, and version, which tell predictions apart."""
        logits, data = self.member_logits(path)
        image = data["image"]
        pred = MetaTensor(logits.mean(dim=0), meta=image.meta, applied_operations=[])
        values = np.asarray(self._postprocessing({"image": image, "pred": pred})["pred"].cpu(), dtype=np.float16)
        affine = np.asarray(image.meta.get("original_affine", np.eye(4)))
        return (values.transpose(0, 2, 1) if values.ndim == 3 else values), affine


def find_models(conf: Mapping[str, str], output: Path) -> dict[str, ServedModel]:
    """What can be served, by name.

    Args:
        conf: as MONAI Label hands it to the app. ``bundles`` is the folder of the bundles, whose own weights in
            ``models/`` are taken without a run; ``run`` a folder that ``doll run`` wrote, whose networks and weights
            are taken; ``image_size`` the side of what a task's network gets, if not the run's.
        output: the app's folder.

    Raises:
        InputError: when a folder is missing, or nothing in it can be served.
    """
    bundles, run = Path(conf["bundles"]), Path(conf["run"]) if "run" in conf else None
    if not (bundles / CLASSIFIER_BUNDLE).is_dir():
        raise InputError(f"There are no bundles in {bundles}; give --bundles, the folder of the bundles.")
    if run is not None and not (run / "pretraining" / "model.pt").is_file():
        raise InputError(f"{run} has no pretraining/model.pt; give --run, a folder of a finished pipeline.")
    executed = (run or bundles) / "configs" / "executed" / "pretrain.json"
    size = read_json_object(executed)["image_size"] if executed.is_file() else None
    task_size = [int(conf["image_size"])] * 2 if "image_size" in conf else size
    served = {}
    for name in (*TASKS, FINDINGS_BUNDLE, CLASSIFIER_BUNDLE):
        changes, weights = _of_run(run, name) if run else (None, _of_bundle(bundles / name))
        there = {kind: path for kind, path in weights.items() if path.is_file()}
        if "checkpoint" in there or "pretrained" in there:
            served[name] = ServedModel(bundles / name, output, changes, task_size if name in TASKS else size, **there)
    if not served:
        raise InputError(
            f"No bundle in {bundles} has weights; run `doll demo` and give --run, the folder that it wrote."
        )
    return served


def _of_bundle(root: Path) -> dict[str, Path]:
    return {"checkpoint": root / "models" / "model.pt", "pretrained": root / "models" / "pretrained.pt"}


def _of_run(run: Path, name: str) -> tuple[Path, dict[str, Path]]:
    """A pipeline's configuration and weights for a bundle."""
    configs, pretrained = run / "configs", run / "pretraining" / "model.pt"
    if name == CLASSIFIER_BUNDLE:
        return configs / "committee.json", {"checkpoint": run / "committee" / "model.pt"}
    if name == FINDINGS_BUNDLE:
        return configs / "pretraining_network.json", {"checkpoint": pretrained}
    adapter = run / name.split("_")[0] / "adapter" / "adapter.pt"
    return configs / "task_network.json", {"pretrained": pretrained, "adapter": adapter}
