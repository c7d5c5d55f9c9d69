"""A served bundle's network, with the adapters that were trained last while people annotate.

    MODEL/0001/  adapter_0.pt, adapter_1.pt, stats.json
    MODEL/0002/  ...

A training writes into a folder whose name ends in ``.part`` and is renamed at its end, so the folder with the highest
number is the last good version, whatever happens. Deleting it brings back the one before.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from torch import nn

from doll_monai.networks.committee import Committee
from doll_monai.networks.weights import load_adapter, load_weights
from doll_tools.annotate.served import ServedBundle

REMEMBERED = 4
"""Images whose predictions are kept, so that a click does not ask the network again."""
WRITERS = ("SaveImaged", "AsDiscreted")
"""Parts of a bundle's postprocessing that the app does itself."""


class ServedModel:
    """Predictions of one bundle, by the network that was trained last.

    Args:
        bundle: the bundle.
        folder: of its trained versions; made when something is trained.
    """

    def __init__(self, bundle: ServedBundle, folder: Path) -> None:
        self.bundle, self.folder = bundle, folder
        self.name, self.classes = bundle.root.name, bundle.classes
        parser = bundle.parser()
        steps = parser["postprocessing"]["transforms"]
        parser["postprocessing"]["transforms"] = [step for step in steps if step["_target_"] not in WRITERS]
        self.preprocessing, self.postprocessing, self.inferer = (
            parser.get_parsed_content(name) for name in ("preprocessing", "postprocessing", "inferer")
        )
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._networks: tuple[int, list[nn.Module]] | None = None
        self._lock = threading.RLock()
        self._remembered = lru_cache(REMEMBERED)(self._predict)

    @property
    def version(self) -> int:
        """Number of the adapters in use; 0 before the first training."""
        return max((int(path.name) for path in self.folder.glob("[0-9]*") if path.name.isdigit()), default=0)

    def version_folder(self, number: int) -> Path:
        """Folder of a version."""
        return self.folder / f"{number:04d}"

    def stats(self) -> dict[str, Any]:
        """How the adapters in use were trained."""
        number = self.version
        return (
            {"version": number, **json.loads((self.version_folder(number) / "stats.json").read_text())}
            if number
            else {}
        )

    def begin(self) -> Path:
        """An empty folder for a training; what unfinished trainings left is deleted."""
        for left in self.folder.glob("*.part"):
            shutil.rmtree(left)
        started = self.version_folder(self.version + 1).with_suffix(".part")
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
        return self.version > 0 or bool(self.bundle.checkpoint or self.bundle.adapter)

    def networks(self) -> list[nn.Module]:
        """The members of the ensemble; one before the first training.

        Raises:
            InputError: when there are no weights, or they belong to another network.
        """
        with self._lock:
            number = self.version
            if self._networks is None or self._networks[0] != number:
                adapters = sorted(self.version_folder(number).glob("adapter_*.pt")) if number else [self.bundle.adapter]
                self._networks = number, [self._load(adapter) for adapter in adapters]
            return self._networks[1]

    def _load(self, adapter: Path | None) -> nn.Module:
        network = self.bundle.parser().get_parsed_content("network_def")
        if adapter is not None:
            load_adapter(network, adapter, self.bundle.pretrained)
        else:
            load_weights(network, self.bundle.checkpoint or "")
        return network.eval().to(self._device)

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
            return torch.cat([self.inferer(image, member).float().cpu() for member in members]), data

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
        values = np.asarray(self.postprocessing({"image": image, "pred": pred})["pred"].cpu(), dtype=np.float16)
        affine = np.asarray(image.meta.get("original_affine", np.eye(4)))
        return (values.transpose(0, 2, 1) if values.ndim == 3 else values), affine
