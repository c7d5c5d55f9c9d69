"""The street from a CheXpert folder to a segmentation model: which stages, with which values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from doll_monai.data.datalist import read_table, write_atomic
from doll_monai.utils.errors import InputError
from doll_tools.pipeline.stages import Stage, bundle_run

TASKS = {"lung": {"bundle": "lung_cxr_segmentation", "class": "lungs", "columns": ("right_lung", "left_lung", "lungs")}}
"""Task to its bundle, its class, and the mask columns that make the class up (those that the table has)."""


class Street:
    """Builds the stages of one pipeline.

    Args:
        root: folder that has ``bundles`` and ``scripts``.
        output: folder of the run.
        chexpert: data set in CheXpert's layout.
        task: one of ``TASKS``.
        task_data: folder with ``index.csv`` and masks.
        preset: the values of ``scripts/doll_tools/pipeline/presets/NAME.json``.
    """

    def __init__(
        self, root: Path, output: Path, chexpert: Path, task: str, task_data: Path, preset: Mapping[str, Any]
    ) -> None:
        if task not in TASKS:
            raise InputError(f"There is no task '{task}'; there are: {', '.join(TASKS)}.")
        self.root, self.output, self.chexpert, self.task_data = root, output, chexpert, task_data
        self.task, self.preset = task, preset
        self.members: list[str] = preset["members"]
        self.common = {"image_size": preset["image_size"], "num_workers": preset["num_workers"]}
        self.expected: Mapping[str, float] = preset["expected_seconds"]

    def stages(self) -> list[Stage]:
        """All stages in their order."""
        self._write_networks()
        stages = [self._prepare_images(), *(self._train_member(name) for name in self.members)]
        stages += [self._assemble(), self._evaluate_classifier(), self._generate_labels()]
        truth = next((p for p in (self.chexpert / "truth.csv", self.chexpert / "boxes.csv") if p.is_file()), None)
        if truth is not None:
            sections = ("validation", "test") if truth.name == "truth.csv" else ("all",)
            stages += [self._localize(truth, section) for section in sections]
        stages += [self._pretrain(), self._prepare_task()]
        for tuning in ("adapter", "scratch"):
            stages += [self._fine_tune(tuning), self._evaluate_task(tuning)]
        return [*stages, self._predict_task()]

    def _bundle(self, name: str) -> Path:
        return self.root / "bundles" / name

    def _configs(self, bundle: str, *names: str) -> list[Path]:
        return [self._bundle(bundle) / "configs" / f"{name}.json" for name in names]

    def _write_networks(self) -> None:
        """Networks of this preset as small configuration files, made from the members' own."""
        members = self._bundle("chexpert_cxr_classification") / "configs" / "members"
        committee = committee_definition(members, self.members)
        backbone = committee["members"][self.preset["backbone_member"]]
        self._write_config("committee", {"network_def": committee})
        self._write_config("pretraining_network", {"network_def::backbone": backbone})
        task = {"network_def::network::backbone": backbone}
        if "adapter_reduction" in self.preset:
            task["network_def::reduction"] = self.preset["adapter_reduction"]
        self._write_config("task_network", task)

    def _config(self, name: str) -> Path:
        return self.output / "configs" / f"{name}.json"

    def _write_config(self, name: str, content: Mapping[str, Any]) -> None:
        write_atomic(self._config(name), (json.dumps(content, indent=4) + "\n").encode())

    def _stage(
        self,
        name: str,
        command: list[str],
        inputs: list[Path],
        folder: Path,
        files: Sequence[str] = (),
        experiment: str | None = None,
    ) -> Stage:
        outputs = [folder / file for file in files] or [folder]
        return Stage(
            name, command, inputs, folder, outputs, self.expected.get(name, self.expected.get("other")), experiment
        )

    def _bundle_stage(
        self,
        name: str,
        bundle: str,
        configs: list[Path],
        inputs: list[Path],
        folder: Path,
        files: Sequence[str],
        values: Mapping[str, Any],
    ) -> Stage:
        """A stage that runs a bundle: its configurations, what else it reads, what it writes, what it overrides."""
        command = bundle_run(configs, self._bundle(bundle), **values)
        return self._stage(name, command, [*configs, *inputs], folder, files, bundle)

    def _prepare_images(self) -> Stage:
        datalist = self._datalist()
        command = ["python", str(self.root / "scripts" / "prepare_chexpert.py")]
        command += ["--dataset_dir", str(self.chexpert), "--output", str(datalist)]
        tables = [self.chexpert / "train.csv", self.chexpert / "valid.csv"]
        return self._stage("prepare_images", command, tables, datalist.parent, [datalist.name])

    def _images(self) -> dict[str, Any]:
        return {"dataset_dir": self.chexpert, "datalist": self._datalist()}

    def _train_member(self, name: str) -> Stage:
        bundle = "chexpert_cxr_classification"
        folder = self.output / "members" / name
        values = {**self._images(), "output_dir": folder, "ckpt_dir": folder, "seed": self.members.index(name)}
        values |= {**self.common, **self.preset["classifier"]}
        configs = self._configs(bundle, "train", f"members/{name}")
        return self._bundle_stage(f"train_{name}", bundle, configs, [self._datalist()], folder, ["model.pt"], values)

    def _assemble(self) -> Stage:
        members = [self.output / "members" / name / "model.pt" for name in self.members]
        command = ["python", str(self.root / "scripts" / "assemble_committee.py")]
        command += ["--members", ",".join(map(str, members)), "--output", str(self._committee())]
        return self._stage("assemble_committee", command, members, self._committee().parent, ["model.pt"])

    def _evaluate_classifier(self) -> Stage:
        bundle = "chexpert_cxr_classification"
        configs = [*self._configs(bundle, "train", "evaluate"), self._config("committee")]
        folder = self.output / "classifier"
        values = {**self._images(), "output_dir": folder, "checkpoint": self._committee(), **self.common}
        inputs = [self._datalist(), self._committee()]
        return self._bundle_stage("evaluate_classifier", bundle, configs, inputs, folder, ["metrics.csv"], values)

    def _generate_labels(self) -> Stage:
        bundle = "doll_cxr_label_generation"
        configs = [*self._configs(bundle, "inference"), self._config("committee")]
        folder, files = self.output / "labels", ["dataset.json", "labels.csv"]
        values = {**self._images(), "output_dir": folder, "checkpoint": self._committee()}
        values |= {"gradcam_layers": self.preset["gradcam_layers"], **self.common, **self.preset["labels"]}
        inputs = [self._datalist(), self._committee()]
        return self._bundle_stage("generate_labels", bundle, configs, inputs, folder, files, values)

    def _localize(self, truth: Path, section: str) -> Stage:
        bundle = "doll_cxr_label_generation"
        configs = [*self._configs(bundle, "inference", "evaluate"), self._config("committee")]
        folder = self.output / "localization" / section
        sections = ["training", "validation", "test"] if section == "all" else [section]
        values = {
            **self._images(),
            "sections": sections,
            "truth": truth,
            "gradcam_layers": self.preset["gradcam_layers"],
        }
        values |= {"output_dir": folder, "checkpoint": self._committee(), **self.common, **self.preset["labels"]}
        inputs, files = [self._datalist(), self._committee(), truth], ["localization.csv"]
        return self._bundle_stage(f"localize_{section}", bundle, configs, inputs, folder, files, values)

    def _pretrain(self) -> Stage:
        bundle = "doll_cxr_segmentation"
        configs = [*self._configs(bundle, "train"), self._config("pretraining_network")]
        folder, labels = self.output / "pretraining", self.output / "labels"
        classifier = self.output / "members" / self.members[self.preset["backbone_member"]] / "model.pt"
        values = {"dataset_dir": self.chexpert, "label_dir": labels, "classifier": classifier}
        values |= {"output_dir": folder, "ckpt_dir": folder, **self.common, **self.preset["pretraining"]}
        inputs = [*(labels / name for name in ("dataset.json", "labels.csv", "provenance.json")), classifier]
        return self._bundle_stage("pretrain", bundle, configs, inputs, folder, ["model.pt"], values)

    def _prepare_task(self) -> Stage:
        task, folder = TASKS[self.task], self.output / "task"
        index = self.task_data / "index.csv"
        if not index.is_file():
            raise InputError(f"{index} does not exist; task_data is a folder with index.csv and its masks.")
        _, first = next(read_table(index, ()), (0, {}))
        columns = [column for column in task["columns"] if column in first]
        if not columns:
            raise InputError(f"{index} has none of the columns {', '.join(task['columns'])}.")
        command = ["python", str(self.root / "scripts" / "prepare_masks.py"), "--csv", str(index)]
        command += ["--classes", f"{task['class']}={'+'.join(columns)}", "--output", str(folder)]
        for name, count in self.preset["task_images"].items():
            command += [f"--{name}", str(count)]
        stage = self._stage("prepare_task", command, [index], folder, ["dataset.json"])
        stage.watched = self.task_data
        return stage

    def _task_data(self) -> dict[str, Any]:
        return {"dataset_dir": self.task_data, "label_dir": self.output / "task"}

    def _task_stage(
        self,
        name: str,
        configs: Sequence[str],
        inputs: list[Path],
        folder: Path,
        files: Sequence[str],
        values: Mapping[str, Any],
    ) -> Stage:
        bundle = str(TASKS[self.task]["bundle"])
        paths = [*self._configs(bundle, *configs), self._config("task_network")]
        inputs = [self.output / "task" / "dataset.json", *inputs]
        return self._bundle_stage(name, bundle, paths, inputs, folder, files, values)

    def _fine_tune(self, tuning: str) -> Stage:
        folder, pretrained = self.output / self.task / tuning, self.output / "pretraining" / "model.pt"
        start = {"pretrained": pretrained} if tuning == "adapter" else {"network_def__tuning": "full"}
        values = {**self._task_data(), "output_dir": folder, "ckpt_dir": folder, **start}
        values |= {**self.common, **self.preset["fine_tuning"], **self.preset[tuning]}
        inputs = [pretrained] if tuning == "adapter" else []
        return self._task_stage(f"fine_tune_{tuning}", ["train"], inputs, folder, ["model.pt"], values)

    def _evaluate_task(self, tuning: str) -> Stage:
        folder, model = self.output / self.task / tuning / "evaluation", self.output / self.task / tuning / "model.pt"
        values = {**self._task_data(), "output_dir": folder, "checkpoint": model}
        values |= {**({"network_def__tuning": "full"} if tuning == "scratch" else {}), **self.common}
        return self._task_stage(f"evaluate_{tuning}", ["train", "evaluate"], [model], folder, ["metrics.csv"], values)

    def _predict_task(self) -> Stage:
        folder, model = (
            self.output / self.task / "adapter" / "predictions",
            self.output / self.task / "adapter/model.pt",
        )
        values = {"dataset_dir": self.task_data, "datalist": self.output / "task" / "dataset.json"}
        values |= {"output_dir": folder, "checkpoint": model, **self.common}
        return self._task_stage("predict", ["inference"], [model], folder, (), values)

    def _datalist(self) -> Path:
        return self.output / "chexpert" / "dataset.json"

    def _committee(self) -> Path:
        return self.output / "committee" / "model.pt"


def committee_definition(folder: Path, members: Sequence[str]) -> dict[str, Any]:
    """The ``network_def`` of a committee.

    Args:
        folder: ``configs/members`` of the classifier bundle.
        members: names of files in it.

    Raises:
        InputError: when there is no such member.
    """
    definitions = []
    for name in members:
        path = folder / f"{name}.json"
        if not path.is_file():
            known = ", ".join(sorted(file.stem for file in folder.glob("*.json")))
            raise InputError(f"There is no member '{name}'; there are: {known}.")
        definitions.append(json.loads(path.read_text())["network_def"])
    return {"_target_": "doll_monai.networks.Committee", "members": definitions}


def plan(root: Path, output: Path, chexpert: Path, task: str, task_data: Path, preset: str) -> list[Stage]:
    """All stages of a pipeline with a preset's values.

    Raises:
        InputError: when the preset, the task, a folder or a table does not exist.
    """
    presets = root / "scripts" / "doll_tools" / "pipeline" / "presets"
    path = presets / f"{preset}.json"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in presets.glob("*.json")))
        raise InputError(f"There is no preset '{preset}'; there are: {known}.")
    for folder in (chexpert, task_data):
        if not folder.is_dir():
            raise InputError(f"The folder {folder} does not exist.")
    return Street(root, output, chexpert, task, task_data, json.loads(path.read_text())).stages()
