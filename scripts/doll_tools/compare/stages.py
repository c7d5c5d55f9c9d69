"""The stages of a comparison: masks to labels, then a training and a scoring for each cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from doll_monai.data.datalist import write_datalist
from doll_monai.networks.weights import save_weights
from doll_monai.utils.json_object import read_json_object
from doll_tools.compare.bundle import SCORING, TRAINING
from doll_tools.compare.cells import CELLS, SCORES, Cell, epochs
from doll_tools.compare.image_scores import FILE
from doll_tools.compare.initializations import BACKBONE
from doll_tools.compare.request import ComparisonRequest
from doll_tools.compare.split import INDEX, Radiograph, first_shots
from doll_tools.pipeline.stages import Stage

TASK, ELSEWHERE, INITIALIZATIONS = "task", "elsewhere", "initializations"
"""Folders of labels, and of the checkpoints that cells are initialized with."""


class ComparisonStages:
    """Makes the stages of a request, and the files that they read."""

    def __init__(self, request: ComparisonRequest) -> None:
        self.request, self.setup, self.output = request, request.setup, request.output
        self._elsewhere_datalist = self.output / "datalists" / "elsewhere.json"

    def preparing(self) -> list[Stage]:
        """Writing label files, of the task and of the data from elsewhere."""
        stages = [self._prepare(TASK, self.request.task_data, self.request.columns)]
        if self.request.test_data is not None:
            stages.append(self._prepare(ELSEWHERE, self.request.test_data, self.request.elsewhere_columns))
        return stages

    def write_inputs(self) -> None:
        """Write a ``dataset.json`` for every number of shots and seed, that of elsewhere, and missing checkpoints."""
        request = self.request
        for shots in request.shots:
            for seed in range(request.seeds):
                images = {**request.sections, "training": first_shots(request.sections["training"], shots, seed)}
                records = {section: self._records(TASK, members) for section, members in images.items()}
                write_datalist(self._datalist(shots, seed), records, name=request.task)
        if request.elsewhere:
            records = {"test": self._records(ELSEWHERE, request.elsewhere)}
            write_datalist(self._elsewhere_datalist, records, name=ELSEWHERE)
        for cell in request.cells:
            path = self._checkpoint(cell)
            if path is not None and not path.is_file():
                initial = request.initial[cell.initialization]
                network = self.setup.initialized(initial, request.cell_overrides(cell), cell.seed)
                save_weights(network.state_dict(), path)

    def training(self, cell: Cell) -> Stage:
        """The training of a cell; it writes ``model.pt``."""
        folder, checkpoint = self.folder(cell), self._checkpoint(cell)
        count, length = epochs(self.request.iterations)
        values = {**self._common(cell), "output_dir": folder, "ckpt_dir": folder, "seed": cell.seed}
        values |= {"max_epochs": count, "iterations_per_epoch": length}
        values |= {"pretrained": checkpoint} if checkpoint else {}
        inputs = [*self.setup.configs(TRAINING), self._datalist(cell.shots, cell.seed)]
        inputs += [checkpoint] if checkpoint else []
        command, outputs = self.setup.command(TRAINING, values), [folder / "model.pt"]
        return Stage(cell.name, command, inputs, folder, outputs, bundle=self.setup.folder)

    def scoring(self, cell: Cell) -> Stage:
        """The scoring of a trained cell; not tracked, its scores go to the training's run."""
        folder = self.folder(cell) / SCORES
        values = {**self._common(cell), "output_dir": folder, "checkpoint": self.folder(cell) / "model.pt"}
        inputs = [*self.setup.configs(SCORING), self._datalist(cell.shots, cell.seed)]
        if self.request.test_data is not None:
            inputs.append(self._elsewhere_datalist)
            values["elsewhere"] = {
                "dataset_dir": str(self.request.test_data),
                "label_dir": str(self.output / ELSEWHERE),
                "datalist": str(self._elsewhere_datalist),
                "classes": list(self.request.elsewhere_columns),
            }
        return Stage(f"{cell.name}_scores", self.setup.command(SCORING, values), inputs, folder, [folder / FILE])

    def folder(self, cell: Cell) -> Path:
        """The cell's folder."""
        return self.output / CELLS / cell.name

    def _common(self, cell: Cell) -> dict[str, Any]:
        return {
            "dataset_dir": self.request.task_data,
            "label_dir": self.output / TASK,
            "datalist": self._datalist(cell.shots, cell.seed),
            "network_def::tuning": cell.tuning,
            **self.setup.channels(),
            **self.request.cell_overrides(cell),
        }

    def _prepare(self, name: str, data: Path, columns: Mapping[str, Sequence[str]]) -> Stage:
        folder = self.output / name
        classes = ",".join(f"{label}={'+'.join(parts)}" for label, parts in columns.items())
        command = ["python", "-m", "doll_tools", "prepare", "masks", "--csv", str(data / INDEX), "--classes", classes]
        command += ["--output", str(folder), "--training", "0", "--validation", "0"]
        outputs = [folder / "dataset.json"]
        return Stage(f"prepare_{name}", command, [data / INDEX], folder, outputs, watched=data)

    def _records(self, name: str, images: Sequence[Radiograph]) -> list[dict[str, str]]:
        """Records of images with the label files that were prepared."""
        prepared = read_json_object(self.output / name / "dataset.json")["test"]
        labels = {record["image"]: {"label": record["label"], "name": record["image"]} for record in prepared}
        return [{"image": one.image, **labels[one.image], "patient": one.patient} for one in images]

    def _datalist(self, shots: int, seed: int) -> Path:
        return self.output / "datalists" / f"shots{shots}_seed{seed}.json"

    def _checkpoint(self, cell: Cell) -> Path | None:
        """What a cell is initialized with; what is not the backbone's is drawn by the seed, so there is one a seed."""
        initial = self.request.initial[cell.initialization]
        seed = f"_seed{cell.seed}" if initial.part == BACKBONE else ""
        return self.output / INITIALIZATIONS / f"{cell.initialization}{seed}.pt" if initial.source else None
