"""What MONAI Label calls for ``/train``: adapters for what has been annotated so far."""

from __future__ import annotations

import math
import os
import shutil
import time
from pathlib import Path
from typing import Any

from monai.bundle import run
from monai.utils.misc import path_to_sqlite_uri
from monailabel.interfaces.tasks.train import TrainTask

from doll_monai.data.datalist import write_datalist
from doll_monai.utils.errors import InputError, sentence_of
from doll_monai.utils.folder import lock_folder
from doll_tools.annotate.export import write_labels
from doll_tools.annotate.model import ServedModel

ITERATIONS = 100
MEMBERS = 2
BATCH = 5
FEWEST = 2  # annotated images below which nothing is trained


class TrainAdapters(TrainTask):
    """Trains adapters and head of one task's bundle, several times with different seeds: an ensemble.

    Every training starts from the pre-trained network, so what is trained depends on the saved labels and not on the
    order in which they came. The backbone is not changed.
    """

    def __init__(self, model: ServedModel) -> None:
        super().__init__(f"Trains adapters for {', '.join(model.classes)} on the images that are annotated.")
        self.model = model

    def config(self) -> dict[str, Any]:
        return {"members": MEMBERS, "iterations": ITERATIONS}

    def stats(self) -> dict[str, Any]:
        return self.model.stats()

    def __call__(self, request: dict[str, Any], datastore: Any) -> dict[str, Any]:
        """Train and put to use, with the request's ``members`` and ``iterations``.

        Raises:
            InputError: when there is too little to train on, or the training fails; the last version stays in use.
        """
        stats = {name: request.get(name, usual) for name, usual in self.config().items()}
        for name, value in stats.items():
            if type(value) is not int or value < 1:
                raise InputError(f"'{name}' must be a whole number of 1 or more, not {value}.")
        studies = datastore.folder
        with lock_folder(self.model.folder, "training"):
            start, folder = time.monotonic(), self.model.begin()
            try:
                records = write_labels(studies, self.model.classes, folder / "data")
                if len(records) < FEWEST:
                    names = ", ".join(self.model.classes)
                    raise InputError(f"{len(records)} images have a final label for {names}; save at least {FEWEST}.")
                write_datalist(folder / "data" / "dataset.json", {"training": records, "validation": records[:1]})
                epochs = math.ceil(stats["iterations"] / max(len(records) // BATCH, 1))
                for member in range(stats["members"]):
                    self._train(folder, member, epochs, studies)
            except Exception as error:
                shutil.rmtree(folder, ignore_errors=True)
                reason = sentence_of(error) or f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
                raise InputError(f"Nothing was trained, the last adapters stay in use: {reason}") from error
            seconds = round(time.monotonic() - start)
            self.model.publish(folder, {**stats, "images": len(records), "seconds": seconds, "time": int(time.time())})
        return self.stats()

    def _train(self, folder: Path, member: int, epochs: int, studies: Path) -> None:
        """One member, by the bundle's own training."""
        model, place = self.model, folder / f"member_{member}"
        values: dict[str, Any] = {"image_size": model.image_size} if model.image_size else {}
        runs = model.output / "mlruns"
        runs.mkdir(exist_ok=True)
        run(
            config_file=model.config_files("train.json"),
            bundle_root=str(model.root),
            dataset_dir=str(studies),
            label_dir=str(folder / "data"),
            output_dir=str(place),
            ckpt_dir=str(place),
            pretrained=str(model.pretrained),
            tracking=str(model.root / "configs" / "mlflow.json"),
            tracking_uri=path_to_sqlite_uri(runs / "mlruns.db"),
            run_name=f"label_app_{folder.stem}_{member}",
            batch_size=BATCH,
            max_epochs=epochs,
            val_interval=epochs + 1,
            seed=member,
            **values,
        )
        os.replace(place / "adapter.pt", folder / f"adapter_{member}.pt")
