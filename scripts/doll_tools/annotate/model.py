"""A served bundle's network, with the adapters that were trained last."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from monai.data import MetaTensor
from monai.inferers import Inferer
from monai.transforms import Compose
from torch import nn

from doll_monai.networks.adapter_file import load_adapter
from doll_monai.networks.committee import Committee
from doll_monai.networks.weights import load_weights
from doll_tools.annotate.served import ServedBundle
from doll_tools.annotate.versions import Versions

REMEMBERED = 256 << 20
"""Bytes of predictions that are kept, so that a click does not ask the network again."""
WRITERS = ("SaveImaged", "AsDiscreted")
"""Parts of a bundle's postprocessing that the app does itself."""


class ServedModel:
    """Predictions of one bundle, by the network that was trained last.

    Args:
        served: the bundle.
        versions: its adapters.
    """

    def __init__(self, served: ServedBundle, versions: Versions) -> None:
        self.served = served
        self.versions = versions
        self.classes = served.classes
        parser = served.parser()
        self.preprocessing: Compose = parser.get_parsed_content("preprocessing")
        parser["postprocessing"]["transforms"] = [
            step for step in parser["postprocessing"]["transforms"] if step["_target_"] not in WRITERS
        ]
        self.postprocessing: Compose = parser.get_parsed_content("postprocessing")
        self.inferer: Inferer = parser.get_parsed_content("inferer")
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._networks: tuple[int, list[nn.Module]] | None = None
        self._lock = threading.RLock()
        self._seen: OrderedDict[tuple[str, int, int], tuple[np.ndarray, np.ndarray]] = OrderedDict()

    @property
    def version(self) -> int:
        """Number of the adapters in use; 0 before the first training."""
        current = self.versions.current()
        return 0 if current is None else current.number

    def is_ready(self) -> bool:
        """Whether there is anything to predict with."""
        files = (self.served.checkpoint, self.served.adapter)
        return self.version > 0 or any(path is not None and Path(path).is_file() for path in files)

    def networks(self) -> list[nn.Module]:
        """The members of the ensemble; one before the first training.

        Raises:
            InputError: when there are no weights, or they belong to another network.
        """
        with self._lock:
            current = self.versions.current()
            number = 0 if current is None else current.number
            if self._networks is None or self._networks[0] != number:
                adapters = [Path(self.served.adapter)] if self.served.adapter else []
                adapters = adapters if current is None else current.adapters
                self._networks = number, [self._load(path) for path in adapters] or [self._load(None)]
            return self._networks[1]

    def _load(self, adapter: Path | None) -> nn.Module:
        network: nn.Module = self.served.parser().get_parsed_content("network_def")
        if adapter is not None:
            load_adapter(network, adapter, self.served.pretrained)  # type: ignore[arg-type]
        else:
            load_weights(network, self.served.checkpoint or "")
        return network.eval().to(self._device)

    def member_logits(self, path: str) -> tuple[torch.Tensor, dict]:
        """Logits of every member in the network's own grid.

        Args:
            path: an image.

        Returns:
            (K, T, w, h), or (K, T) of a classifier; and the image after preprocessing.

        Raises:
            InputError: when the image cannot be read.
        """
        data = self.preprocessing({"image": path})
        image = data["image"][None].to(self._device)
        members = [
            member
            for network in self.networks()
            for member in (network.members if isinstance(network, Committee) else [network])
        ]
        with torch.inference_mode():
            logits = torch.cat([self.inferer(image.as_tensor(), member).float().cpu() for member in members])
        return logits, data

    def probabilities(self, path: str) -> tuple[np.ndarray, np.ndarray]:
        """What is proposed for an image, by the mean of the members, in the image's own grid.

        Args:
            path: an image.

        Returns:
            (T, H, W) ``float32``, rows first, or (T,) of a classifier; and the image's affine, (4, 4).
        """
        with self._lock:
            key = path, os.stat(path).st_mtime_ns if os.path.exists(path) else 0, self.version
            if key not in self._seen:
                self._seen[key] = self._predict(path)
                while len(self._seen) > 1 and sum(kept.nbytes for kept, _ in self._seen.values()) > REMEMBERED:
                    self._seen.popitem(last=False)
            kept, affine = self._seen[key]
            return kept.astype(np.float32), affine

    def _predict(self, path: str) -> tuple[np.ndarray, np.ndarray]:
        logits, data = self.member_logits(path)
        image = data["image"]
        pred = MetaTensor(logits.mean(dim=0), meta=image.meta, applied_operations=[])
        result = self.postprocessing({"image": image, "pred": pred})["pred"]
        values = np.asarray(result.cpu(), dtype=np.float16)
        affine = np.asarray(image.meta.get("original_affine", np.eye(4)))
        return (values.transpose(0, 2, 1) if values.ndim == 3 else values), affine
