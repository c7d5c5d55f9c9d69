"""What MONAI Label calls for ``/train``: adapters for what has been annotated so far."""

from __future__ import annotations

import logging
import math
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from monai.bundle import run
from monai.utils.misc import path_to_sqlite_uri
from monailabel.interfaces.tasks.train import TrainTask

from doll_monai.data.datalist import write_datalist
from doll_monai.data.label_files import write_label
from doll_monai.utils.errors import InputError, sentence_of
from doll_monai.utils.folder_lock import lock_folder
from doll_tools.annotate.label_map import split_classes
from doll_tools.annotate.served import ServedBundle
from doll_tools.annotate.versions import Versions

ITERATIONS = 100
MEMBERS = 2
BATCH = 5
TRACKING = "mlflow.json"
"""A bundle's tracking settings, in its configs; where they are, trainings are logged to MLflow."""
FEWEST = 2
"""Annotated images below which nothing is trained."""
_logger = logging.getLogger(__name__)


class TrainAdapters(TrainTask):
    """Trains adapters and head of one task's bundle, a few times with other seeds: an ensemble.

    Every training starts from the pre-trained network, so what is trained depends on the saved labels and not on the
    order in which they came. The backbone is not changed.

    Args:
        served: the bundle.
        versions: its adapters.
        bits: class to value.
    """

    def __init__(self, served: ServedBundle, versions: Versions, bits: Mapping[str, int]) -> None:
        super().__init__(f"Trains adapters for {', '.join(served.classes)} on the images that are annotated.")
        self.served = served
        self.versions = versions
        self.bits = [bits[name] for name in served.classes]

    def config(self) -> dict[str, Any]:
        return {"members": MEMBERS, "iterations": ITERATIONS}

    def stats(self) -> dict[str, Any]:
        current = self.versions.current()
        return {} if current is None else {"version": current.number, **current.stats}

    def __call__(self, request: dict[str, Any], datastore: Any) -> dict[str, Any]:
        """Train and put to use.

        Args:
            request: ``members`` and ``iterations`` may be given.
            datastore: a ``ImageFolder`` or ``ImageServer``.

        Returns:
            what is known of the training.

        Raises:
            InputError: when there is too little to train on, or the training fails; the last version stays in use.
        """
        members, iterations = (_whole(request, name, usual) for name, usual in self.config().items())
        images = datastore.annotated(self.served.classes)
        if len(images) < FEWEST:
            raise InputError(
                f"{len(images)} images have a final label for {', '.join(self.served.classes)}; "
                f"save at least {FEWEST}, then train."
            )
        with lock_folder(self.versions.folder, "training"):
            start = time.monotonic()
            folder = self.versions.begin()
            try:
                self._write_data(folder, images, datastore)
                for member in range(members):
                    self._train(folder, member, len(images), iterations, os.path.dirname(images[0]["image"]))
            except Exception as error:
                shutil.rmtree(folder, ignore_errors=True)
                raise InputError(f"The training failed, the last adapters stay in use: {_reason(error)}") from error
            stats = {"images": len(images), "members": members, "iterations": iterations}
            stats["seconds"] = round(time.monotonic() - start)
            version = self.versions.publish(folder, stats)
        _logger.info("Version %d of %s is in use: %s", version.number, self.served.name, stats)
        return {"version": version.number, **stats}

    def _write_data(self, folder: Path, images: list[dict[str, str]], datastore: Any) -> None:
        """Labels as the bundle reads them, and their datalist."""
        records = []
        for image in images:
            mask = datastore.mask(image["id"])
            channels = split_classes(mask, self.bits).transpose(0, 2, 1)
            name = f"labels/{image['id']}.nii.gz"
            write_label(folder / "data" / name, channels.astype(np.uint8))
            records.append({"image": os.path.basename(image["image"]), "label": name})
        sections = {"training": records, "validation": records[:1], "test": []}
        write_datalist(folder / "data" / "dataset.json", sections)

    def _train(self, folder: Path, member: int, images: int, iterations: int, dataset_dir: str) -> None:
        """One member, by the bundle's own training."""
        root, place = self.served.root, folder / f"member_{member}"
        epochs = math.ceil(iterations / max(images // BATCH, 1))
        values: dict[str, Any] = {"image_size": list(self.served.image_size)} if self.served.image_size else {}
        settings, runs = Path(root) / "configs" / TRACKING, self.versions.folder.parents[2] / "mlruns"
        if settings.is_file():
            runs.mkdir(exist_ok=True)
            values |= {
                "tracking": str(settings),
                "tracking_uri": path_to_sqlite_uri(runs / "mlruns.db"),
                "run_name": f"label_app_{folder.stem}_{member}",
            }
        run(
            config_file=[f"{root}/configs/train.json", *self.served.changes],
            bundle_root=root,
            dataset_dir=dataset_dir,
            label_dir=str(folder / "data"),
            output_dir=str(place),
            ckpt_dir=str(place),
            pretrained=self.served.pretrained,
            batch_size=BATCH,
            max_epochs=epochs,
            val_interval=epochs + 1,
            seed=member,
            **values,
        )
        os.replace(place / "adapter.pt", folder / f"adapter_{member}.pt")


def _whole(request: Mapping[str, Any], name: str, usual: int) -> int:
    value = request.get(name, usual)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"'{name}' must be a whole number of 1 or more, not {value}.")
    return value


def _reason(error: BaseException) -> str:
    return sentence_of(error) or f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
