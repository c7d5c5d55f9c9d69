"""Which stages lead from a CheXpert folder to a segmentation network, and with which values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from doll_monai.data.datalist import read_table
from doll_monai.utils.atomic import write_atomic
from doll_monai.utils.errors import InputError
from doll_monai.utils.json_object import read_json_object
from doll_tools.folders import bundles_folder
from doll_tools.pipeline.stages import Stage, bundle_run
from doll_tools.pipeline.tasks import find_task
from doll_tools.release.committee import committee_definition

PRESETS = Path(__file__).with_name("presets")
CLASSIFIER, LABELS, PRETRAINING = "chexpert_cxr_classification", "doll_cxr_label_generation", "doll_cxr_segmentation"


def read_preset(name: str) -> dict[str, Any]:
    """The values of ``presets/NAME.json``, or of a file of one's own.

    Raises:
        InputError: when there is no such preset.
    """
    known = {path.stem: path for path in sorted(PRESETS.glob("*.json"))}
    path = known.get(name, Path(name))
    if not path.is_file():
        raise InputError(f"There is no preset '{name}'; there are: {', '.join(known)}, or give a JSON file.")
    return read_json_object(path)


class Plan:
    """The stages of one run.

    Args:
        output: folder of the run.
        chexpert: data set in CheXpert's layout.
        task: one of ``TASKS``.
        task_data: folder with ``index.csv`` and masks.
        preset: see ``read_preset``.

    Raises:
        InputError: when there is no such task or folder.
    """

    def __init__(self, output: Path, chexpert: Path, task: str, task_data: Path, preset: Mapping[str, Any]) -> None:
        self.task, self.task_name = find_task(task), task
        for folder in (chexpert, task_data):
            if not folder.is_dir():
                raise InputError(f"The folder {folder} does not exist.")
        self.output, self.chexpert, self.task_data, self.preset = output, chexpert, task_data, preset
        self.members: list[str] = preset["members"]
        self.datalist, self.committee = output / "chexpert" / "dataset.json", output / "committee" / "model.pt"
        self.pretrained = output / "pretraining" / "model.pt"
        self.common = {"image_size": preset["image_size"], "num_workers": preset["num_workers"]}
        self.images = {"dataset_dir": chexpert, "datalist": self.datalist}

    def stages(self) -> list[Stage]:
        """All stages in their order; the networks of the preset are written as small configurations.

        Raises:
            InputError: when a member does not exist, or the task's table or one of its columns.
        """
        self._write_networks()
        stages = [self._prepare_images(), *map(self._train_member, self.members), self._assemble_committee()]
        stages += [self._evaluate_classifier(), self._generate_labels(), *self._localize(), self._pretrain()]
        stages.append(self._prepare_task())
        for tuning in ("adapter", "scratch"):
            stages += [self._fine_tune(tuning), self._evaluate_task(tuning)]
        return [*stages, self._predict()]

    def _write_networks(self) -> None:
        backbone = committee_definition(self.members)["members"][self.preset["backbone_member"]]
        task = {"network_def::network::backbone": backbone}
        if "adapter_reduction" in self.preset:
            task["network_def::reduction"] = self.preset["adapter_reduction"]
        for name, content in {"pretraining": {"network_def::backbone": backbone}, "task": task}.items():
            write_atomic(self._network(name), (json.dumps(content, indent=4) + "\n").encode())

    def _network(self, name: str) -> Path:
        return self.output / "configs" / f"{name}_network.json"

    def _stage(
        self, name: str, command: list[str], inputs: Sequence[Path], folder: Path, files: Sequence[str]
    ) -> Stage:
        expected = self.preset["expected_seconds"]
        outputs = [folder / file for file in files] or [folder]
        return Stage(name, command, list(inputs), folder, outputs, seconds=expected.get(name, expected.get("other")))

    def _bundle_stage(
        self,
        name: str,
        bundle: str,
        configs: Sequence[str | Path],
        inputs: Sequence[Path],
        folder: Path,
        files: Sequence[str],
        values: Mapping[str, Any],
    ) -> Stage:
        """A stage that runs a bundle.

        Args:
            name: of the stage.
            bundle: its name.
            configs: names in its folder ``configs``, or other files.
            inputs: what else it reads.
            folder: what it writes into.
            files: what is there when it is done.
            values: that it overrides.
        """
        root = bundles_folder() / bundle
        paths = [root / "configs" / f"{part}.json" if isinstance(part, str) else part for part in configs]
        values = {
            "output_dir": folder,
            **values,
            **{key: value for key, value in self.common.items() if key not in values},
        }
        stage = self._stage(name, bundle_run(paths, root, **values), [*paths, *inputs], folder, files)
        stage.bundle = root
        return stage

    def _prepare_images(self) -> Stage:
        command = ["python", "-m", "doll_tools", "prepare", "chexpert"]
        command += ["--dataset_dir", str(self.chexpert), "--output", str(self.datalist)]
        tables = [self.chexpert / "train.csv", self.chexpert / "valid.csv"]
        return self._stage("prepare_images", command, tables, self.datalist.parent, [self.datalist.name])

    def _member(self, name: str) -> Path:
        return self.output / "members" / name / "model.pt"

    def _train_member(self, name: str) -> Stage:
        folder = self._member(name).parent
        values = {**self.images, "ckpt_dir": folder, "seed": self.members.index(name), **self.preset["classifier"]}
        configs = ["train", f"members/{name}"]
        return self._bundle_stage(f"train_{name}", CLASSIFIER, configs, [self.datalist], folder, ["model.pt"], values)

    def _assemble_committee(self) -> Stage:
        checkpoints, folder = [self._member(name) for name in self.members], self.committee.parent
        command = ["python", "-m", "doll_tools", "package", "committee", "--members", ",".join(self.members)]
        command += ["--checkpoints", ",".join(map(str, checkpoints)), "--output", str(folder)]
        return self._stage("assemble_committee", command, checkpoints, folder, ["model.pt", "committee.json"])

    def _committee_stage(
        self, name: str, bundle: str, configs: list[str], folder: Path, files: list[str], values: Mapping[str, Any]
    ) -> Stage:
        """A stage that runs the committee on the images."""
        overlay = self.committee.with_name("committee.json")
        values = {**self.images, "checkpoint": self.committee, **values}
        inputs = [self.datalist, self.committee]
        return self._bundle_stage(name, bundle, [*configs, overlay], inputs, folder, files, values)

    def _evaluate_classifier(self) -> Stage:
        folder, configs = self.output / "classifier", ["train", "evaluate"]
        return self._committee_stage("evaluate_classifier", CLASSIFIER, configs, folder, ["metrics.csv"], {})

    def _label_values(self) -> dict[str, Any]:
        return {"gradcam_layers": self.preset["gradcam_layers"], **self.preset["labels"]}

    def _generate_labels(self) -> Stage:
        folder, files = self.output / "labels", ["dataset.json", "labels.csv"]
        return self._committee_stage("generate_labels", LABELS, ["inference"], folder, files, self._label_values())

    def _localize(self) -> list[Stage]:
        """Labels against ground truth, where the data set has any."""
        found = [path for name in ("truth.csv", "boxes.csv") if (path := self.chexpert / name).is_file()][:1]
        stages = []
        for truth in found:
            parts = {"all": ["training", "validation", "test"]}
            if truth.name == "truth.csv":
                parts = {"validation": ["validation"], "test": ["test"]}
            for part, sections in parts.items():
                values = {"sections": sections, "ground_truth": truth, **self._label_values()}
                folder, configs = self.output / "localization" / part, ["inference", "evaluate"]
                files = ["localization.csv"]
                stages.append(self._committee_stage(f"localize_{part}", LABELS, configs, folder, files, values))
                stages[-1].inputs.append(truth)
        return stages

    def _pretrain(self) -> Stage:
        folder, labels = self.pretrained.parent, self.output / "labels"
        classifier = self._member(self.members[self.preset["backbone_member"]])
        values = {"dataset_dir": self.chexpert, "label_dir": labels, "classifier": classifier, "ckpt_dir": folder}
        inputs = [*(labels / name for name in ("dataset.json", "labels.csv", "provenance.json")), classifier]
        configs: list[str | Path] = ["train", self._network("pretraining")]
        values |= self.preset["pretraining"]
        return self._bundle_stage("pretrain", PRETRAINING, configs, inputs, folder, ["model.pt"], values)

    def _prepare_task(self) -> Stage:
        index, folder = self.task_data / "index.csv", self.output / "task"
        if not index.is_file():
            raise InputError(f"{index} does not exist; task_data is a folder with index.csv and its masks.")
        _, first = next(read_table(index, ()), (0, {}))
        command = ["python", "-m", "doll_tools", "prepare", "masks", "--csv", str(index), "--output", str(folder)]
        command += ["--classes", self.task.mask_classes(first, str(index))]
        for name, count in self.preset["task_images"].items():
            command += [f"--{name}", str(count)]
        stage = self._stage("prepare_task", command, [index], folder, ["dataset.json"])
        stage.watched = self.task_data
        return stage

    def _task_stage(
        self,
        name: str,
        configs: Sequence[str],
        inputs: Sequence[Path],
        folder: Path,
        files: Sequence[str],
        values: Mapping[str, Any],
    ) -> Stage:
        paths: list[str | Path] = [*configs, self._network("task")]
        inputs = [self.output / "task" / "dataset.json", *inputs]
        values = {"dataset_dir": self.task_data, **values}
        return self._bundle_stage(name, self.task.bundle, paths, inputs, folder, files, values)

    def _fine_tune(self, tuning: str) -> Stage:
        folder = self.output / self.task_name / tuning
        values = {"label_dir": self.output / "task", "ckpt_dir": folder, **_tuning(tuning)}
        values |= {"pretrained": self.pretrained} if tuning == "adapter" else {}
        values |= {**self.preset["fine_tuning"], **self.preset[tuning]}
        inputs = [self.pretrained] if tuning == "adapter" else []
        return self._task_stage(f"fine_tune_{tuning}", ["train"], inputs, folder, ["model.pt"], values)

    def _evaluate_task(self, tuning: str) -> Stage:
        model = self.output / self.task_name / tuning / "model.pt"
        values = {"label_dir": self.output / "task", "checkpoint": model, **_tuning(tuning)}
        folder, configs = model.parent / "evaluation", ["train", "evaluate"]
        return self._task_stage(f"evaluate_{tuning}", configs, [model], folder, ["metrics.csv"], values)

    def _predict(self) -> Stage:
        model = self.output / self.task_name / "adapter" / "model.pt"
        values = {"datalist": self.output / "task" / "dataset.json", "checkpoint": model}
        return self._task_stage("predict", ["inference"], [model], model.parent / "predictions", (), values)


def _tuning(name: str) -> dict[str, str]:
    return {"network_def__tuning": "full"} if name == "scratch" else {}
