"""The commands of a comparison: masks to labels, then a training and a scoring for each cell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from doll_monai.data.datalist import write_datalist
from doll_monai.handlers.image_scores import FILE
from doll_monai.utils.json_object import read_json_object
from doll_tools.compare.bundle import SCORING, TRAINING
from doll_tools.compare.cells import Cell, epochs
from doll_tools.compare.request import Columns, ComparisonRequest
from doll_tools.compare.results import CELLS, SCORES
from doll_tools.compare.split import INDEX, Radiograph, first_shots
from doll_tools.compare.starts import BACKBONE, NOTHING, Start
from doll_tools.pipeline.stages import Stage

TASK, ELSEWHERE = "task", "elsewhere"


class ComparisonStages:
    """Makes the stages of a request, and the files that they read.

    Args:
        request: what is compared.
    """

    def __init__(self, request: ComparisonRequest) -> None:
        self.request = request
        self.output = request.output

    def preparing(self) -> list[Stage]:
        """Writing label files, of the task and of the data from elsewhere."""
        stages = [self._prepare(TASK, self.request.task_data, self.request.columns)]
        if self.request.test_data is not None:
            stages.append(self._prepare(ELSEWHERE, self.request.test_data, self.request.elsewhere_columns))
        return stages

    def write_datalists(self) -> None:
        """Write a ``dataset.json`` for every number of shots and seed, and one of the images from elsewhere."""
        request, labels = self.request, self._labels(TASK)
        for shots in request.shots:
            for seed in range(request.seeds):
                images = {**request.sections, "training": first_shots(request.sections["training"], shots, seed)}
                records = {
                    section: [_record(image, labels) for image in members] for section, members in images.items()
                }
                write_datalist(self._datalist(shots, seed), records, name=request.task)
        if request.elsewhere:
            labels = self._labels(ELSEWHERE)
            records = {"test": [_record(image, labels) for image in request.elsewhere]}
            write_datalist(self._elsewhere_datalist(), records, name=ELSEWHERE)

    def write_starts(self) -> None:
        """Write every start that is not there as a ``pretrained`` of the bundle."""
        for cell in self.request.cells:
            start, path = self.request.start(cell), self._start(cell)
            if path is not None and not path.is_file():
                self.request.setup.write_start(start, self.request.cell_overrides(cell), cell.seed, path)

    def training(self, cell: Cell) -> Stage:
        """The training of a cell; it writes ``model.pt``."""
        folder, start = self.folder(cell), self._start(cell)
        count, length = epochs(self.request.iterations)
        values = {
            **self._common(cell),
            **self.request.setup.label_channels(len(self.request.columns)),
            "output_dir": folder,
            "ckpt_dir": folder,
            "seed": cell.seed,
            "max_epochs": count,
            "iterations_per_epoch": length,
            **({"pretrained": start} if start else {}),
        }
        command = self.request.setup.command(TRAINING, values)
        inputs = [*self.request.setup.configs(TRAINING), self._datalist(cell.shots, cell.seed)]
        inputs += [start] if start else []
        return Stage(cell.name, command, inputs, folder, [folder / "model.pt"], experiment=self.request.bundle)

    def scoring(self, cell: Cell) -> Stage:
        """The scoring of a trained cell; not tracked, its scores go to the training's run."""
        folder = self.folder(cell) / SCORES
        values = {
            **self._common(cell),
            **self.request.setup.label_channels(None),
            "output_dir": folder,
            "checkpoint": self.folder(cell) / "model.pt",
            "classes": list(self.request.columns),
        }
        inputs = [*self.request.setup.configs(SCORING), self._datalist(cell.shots, cell.seed)]
        if self.request.test_data is not None:
            inputs.append(self._elsewhere_datalist())
            values["elsewhere"] = {
                "dataset_dir": str(self.request.test_data),
                "label_dir": str(self.output / ELSEWHERE),
                "datalist": str(self._elsewhere_datalist()),
                "classes": list(self.request.elsewhere_columns),
            }
        command = self.request.setup.command(SCORING, values)
        return Stage(f"{cell.name}_scores", command, inputs, folder, [folder / FILE])

    def folder(self, cell: Cell) -> Path:
        """The cell's folder."""
        return self.output / CELLS / cell.name

    def _common(self, cell: Cell) -> dict[str, Any]:
        return {
            "dataset_dir": self.request.task_data,
            "label_dir": self.output / TASK,
            "datalist": self._datalist(cell.shots, cell.seed),
            "network_def::tuning": cell.tuning,
            **self.request.setup.channels(),
            **self.request.cell_overrides(cell),
        }

    def _prepare(self, name: str, data: Path, columns: Columns) -> Stage:
        folder = self.output / name
        classes = ",".join(f"{label}={'+'.join(parts)}" for label, parts in columns.items())
        program = self.request.bundles.parent / "scripts" / "prepare_masks.py"
        command = ["python", str(program), "--csv", str(data / INDEX), "--classes", classes]
        command += ["--output", str(folder), "--training", "0", "--validation", "0"]
        outputs = [folder / "dataset.json"]
        return Stage(f"prepare_{name}", command, [data / INDEX], folder, outputs, watched=data)

    def _labels(self, name: str) -> dict[str, str]:
        """Radiograph to label file, both as they stand in the datalist that was prepared."""
        records = read_json_object(self.output / name / "dataset.json")["test"]
        return {record["image"]: record["label"] for record in records}

    def _datalist(self, shots: int, seed: int) -> Path:
        return self.output / "datalists" / f"shots{shots}_seed{seed}.json"

    def _elsewhere_datalist(self) -> Path:
        return self.output / "datalists" / "elsewhere.json"

    def _start(self, cell: Cell) -> Path | None:
        """The start's checkpoint; what is not the backbone's is drawn by the seed, so there is one a seed."""
        start: Start = self.request.start(cell)
        if start.part == NOTHING:
            return None
        name = f"{start.name}_seed{cell.seed}" if start.part == BACKBONE else start.name
        return self.output / "starts" / f"{name}.pt"


def _record(image: Radiograph, labels: dict[str, str]) -> dict[str, str]:
    return {"image": image.image, "label": labels[image.image], "name": image.image, "patient": image.patient}
