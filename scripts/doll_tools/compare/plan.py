"""A comparison's plan: its cells, and the stages that make them: masks to labels, trainings, scorings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from doll_monai.data.datalist import write_datalist
from doll_monai.networks.weights import file_hash, save_weights
from doll_monai.utils.json_object import read_json_object
from doll_tools.compare import split
from doll_tools.compare.bundle import SCORING, TRAINING, TaskBundle
from doll_tools.compare.cells import CELLS, SCORES, Cell, epochs
from doll_tools.compare.image_scores import FILE
from doll_tools.compare.initializations import BACKBONE, Initialization
from doll_tools.compare.split import ImageTable, Radiograph, first_shots
from doll_tools.pipeline.stages import Stage, bundle_run

TASK, ELSEWHERE, INITIALIZATIONS = "task", "elsewhere", "initializations"
"""Folders of labels, and of the checkpoints that cells are initialized with."""


@dataclass
class Plan:
    """What ``doll compare`` was asked for, checked: the images of each section, and perhaps of another data set
    (``elsewhere``), and what each cell is trained from (``initial``), for how many iterations."""

    output: Path
    task: str
    bundle: TaskBundle
    data: ImageTable
    sections: Mapping[str, Sequence[Radiograph]]
    elsewhere: ImageTable | None
    initial: Mapping[str, Initialization]
    cells: Sequence[Cell]
    iterations: int
    fold: str | None = None

    @cached_property
    def settings(self) -> dict[str, Any]:
        """All that the cells of one folder have in common."""
        configs = {*self.bundle.configs(TRAINING), *self.bundle.configs(SCORING)}
        return {
            **self.bundle.values,
            "bundle": self.bundle.name,
            "task": self.task,
            "iterations": self.iterations,
            "classes": {name: "+".join(columns) for name, columns in self.data.columns.items()},
            "configurations": {path.name: file_hash(path) for path in sorted(configs)},
            "split": {"salt": split.SALT, **split.SHARES},
            "fold": self.fold,
            "images": {section: len(images) for section, images in self.sections.items()},
            "task_data": split.data_hash(self.data),
            "test_data": split.data_hash(self.elsewhere) if self.elsewhere else None,
        }

    def preparing(self) -> list[Stage]:
        """Writing label files, of the task and of the data from elsewhere."""
        tables = {TASK: self.data, ELSEWHERE: self.elsewhere}
        return [self._prepare(name, table) for name, table in tables.items() if table]

    def _prepare(self, name: str, table: ImageTable) -> Stage:
        folder, index = self.output / name, table.folder / split.INDEX
        classes = ",".join(f"{label}={'+'.join(parts)}" for label, parts in table.columns.items())
        command = ["python", "-m", "doll_tools", "prepare", "masks", "--csv", str(index), "--classes", classes]
        command += ["--output", str(folder), "--training", "0", "--validation", "0"]
        return Stage(f"prepare_{name}", command, [index], folder, [folder / "dataset.json"], watched=table.folder)

    def write_inputs(self) -> None:
        """Write a ``dataset.json`` for every number of shots and seed, that of elsewhere, and missing checkpoints."""
        for cell in self.cells:
            images = {**self.sections, "training": first_shots(self.sections["training"], cell.shots, cell.seed)}
            records = {section: self._records(TASK, members) for section, members in images.items()}
            write_datalist(self._datalist(cell), records, name=self.task)
            path = self._checkpoint(cell)
            if path is not None and not path.is_file():
                network = self.bundle.initialized(self.initial[cell.initialization], cell)
                save_weights(network.state_dict(), path)
        if self.elsewhere:
            records = {"test": self._records(ELSEWHERE, self.elsewhere.images)}
            write_datalist(self._elsewhere_datalist, records, name=ELSEWHERE)

    def _records(self, name: str, images: Sequence[Radiograph]) -> list[dict[str, str]]:
        """Records of images with the label files that were prepared."""
        prepared = read_json_object(self.output / name / "dataset.json")["test"]
        labels = {record["image"]: {"label": record["label"], "name": record["image"]} for record in prepared}
        return [{"image": one.image, **labels[one.image], "patient": one.patient} for one in images]

    def training(self, cell: Cell) -> Stage:
        """The training of a cell; it writes ``model.pt``."""
        folder, checkpoint = self.folder(cell), self._checkpoint(cell)
        count, length = epochs(self.iterations)
        values = {**self._common(cell), "output_dir": folder, "ckpt_dir": folder, "seed": cell.seed}
        values |= {"max_epochs": count, "iterations_per_epoch": length}
        inputs = [*self.bundle.configs(TRAINING), self._datalist(cell)]
        if checkpoint is not None:
            values["pretrained"] = checkpoint
            inputs.append(checkpoint)
        command = bundle_run(self.bundle.configs(TRAINING), self.bundle.folder, **values)
        return Stage(cell.name, command, inputs, folder, [folder / "model.pt"], bundle=self.bundle.folder)

    def scoring(self, cell: Cell) -> Stage:
        """The scoring of a trained cell; not tracked, its scores go to the training's run."""
        folder = self.folder(cell) / SCORES
        values = {**self._common(cell), "output_dir": folder, "checkpoint": self.folder(cell) / "model.pt"}
        inputs = [*self.bundle.configs(SCORING), self._datalist(cell)]
        if self.elsewhere:
            inputs.append(self._elsewhere_datalist)
            values["elsewhere"] = {
                "dataset_dir": str(self.elsewhere.folder),
                "label_dir": str(self.output / ELSEWHERE),
                "datalist": str(self._elsewhere_datalist),
                "classes": list(self.elsewhere.columns),
            }
        command = bundle_run(self.bundle.configs(SCORING), self.bundle.folder, **values)
        return Stage(f"{cell.name}_scores", command, inputs, folder, [folder / FILE])

    def folder(self, cell: Cell) -> Path:
        """The cell's folder."""
        return self.output / CELLS / cell.name

    def _common(self, cell: Cell) -> dict[str, Any]:
        paths = {"dataset_dir": self.data.folder, "label_dir": self.output / TASK, "datalist": self._datalist(cell)}
        return {**paths, **self.bundle.overrides(cell)}

    def _datalist(self, cell: Cell) -> Path:
        return self.output / "datalists" / f"shots{cell.shots}_seed{cell.seed}.json"

    @property
    def _elsewhere_datalist(self) -> Path:
        return self.output / "datalists" / "elsewhere.json"

    def _checkpoint(self, cell: Cell) -> Path | None:
        """What a cell is initialized with; what is not the backbone's is drawn by the seed, so there is one a seed."""
        initial = self.initial[cell.initialization]
        seed = f"_seed{cell.seed}" if initial.part == BACKBONE else ""
        return self.output / INITIALIZATIONS / f"{cell.initialization}{seed}.pt" if initial.source else None
