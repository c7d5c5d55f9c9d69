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
from doll_tools.arguments import bundles_folder
from doll_tools.pipeline.stages import Stage, Task, bundle_run, find_task
from doll_tools.release.committee import committee_definition

PRESETS = Path(__file__).with_name("presets")
CLASSIFIER, LABELS, PRETRAINING = "chexpert_cxr_classification", "doll_cxr_label_generation", "doll_cxr_segmentation"
Values = Mapping[str, Any]


def read_preset(name: str) -> dict[str, Any]:
    """The values of ``presets/NAME.json``, or of a file of one's own; an ``InputError`` where neither is there."""
    known = {path.stem: path for path in sorted(PRESETS.glob("*.json"))}
    path = known.get(name, Path(name))
    if not path.is_file():
        raise InputError(f"There is no preset '{name}'; there are: {', '.join(known)}, or give a JSON file.")
    return read_json_object(path)


class Plan:
    """The stages of one run, of images in CheXpert's layout and a folder of ``index.csv`` and masks; see ``TASKS`` and
    ``read_preset``. ``InputError`` when there is no such task or folder.

    With ``organ_data``, a folder like ``task_data`` with masks of lungs and heart, labels are made twice: the network
    that was pre-trained on the first ones learns to segment these organs, to which the second ones are restricted.
    """

    def __init__(
        self,
        output: Path,
        chexpert: Path,
        task: str,
        task_data: Path,
        preset: Values,
        organ_data: Path | None = None,
    ) -> None:
        self.task, self.organ_data = find_task(task), organ_data
        for folder in (chexpert, task_data, *([organ_data] if organ_data else [])):
            if not folder.is_dir():
                raise InputError(f"The folder {folder} does not exist.")
        self.output, self.chexpert, self.task_data, self.preset = output, chexpert, task_data, preset
        self.members: list[str] = preset["members"]
        self.datalist, self.committee = output / "chexpert" / "dataset.json", output / "committee" / "model.pt"
        self.pretrained, self.tuned = output / "pretraining" / "model.pt", output / task
        self.images = {"dataset_dir": chexpert, "datalist": self.datalist}
        self.label_values = {"gradcam_layers": preset["gradcam_layers"], **preset["labels"]}

    def stages(self) -> list[Stage]:
        """All stages in their order; the networks of the preset are written as small configurations.

        ``InputError`` when a member does not exist, or the task's table or one of its columns.
        """
        self._write_networks()
        classifier, organs = self.output / "classifier", self._segment_organs()
        if organs:
            self.label_values |= {"organ_dir": organs[-1].folder}
        return [
            self._prepare_images(),
            *map(self._train_member, self.members),
            self._assemble_committee(),
            self._committee_stage(
                "evaluate_classifier", CLASSIFIER, ["train", "evaluate"], [classifier / "metrics.csv"], {}
            ),
            *organs,
            self._generate_labels("generate_labels", self.output / "labels", self.label_values),
            *self._localize(),
            self._pretrain("pretrain", self.output / "labels", self.pretrained),
            self._prepare_task("prepare_task", self.task, self.task_data, self.output / "task"),
            *(stage for tuning in ("adapter", "scratch") for stage in self._tune(tuning)),
            self._predict(),
        ]

    def _write_networks(self) -> None:
        member = committee_definition(self.members)["members"][self.preset["backbone_member"]]
        backbone = member.get("backbone", member)  # a pyramid classifier has one, others are one
        for name, bundle, key in (
            ("pretraining", PRETRAINING, "network_def::backbone"),
            ("task", self.task.bundle, "network_def::network::backbone"),
        ):
            content: dict[str, Any] = {}
            if "network" in self.preset:
                path = bundles_folder() / bundle / "configs" / "networks" / f"{self.preset['network']}.json"
                content |= read_json_object(path)
            content[key] = backbone
            if name == "task" and "adapter_reduction" in self.preset:
                content["network_def::reduction"] = self.preset["adapter_reduction"]
            write_atomic(self._network(name), (json.dumps(content, indent=4) + "\n").encode())

    def _network(self, name: str) -> Path:
        return self.output / "configs" / f"{name}_network.json"

    def _stage(self, name: str, command: list[str], inputs: Sequence[Path], outputs: list[Path], **more: Any) -> Stage:
        """A stage whose folder is that of its outputs, or its only output."""
        folder = outputs[0].parent if outputs[0].suffix else outputs[0]
        return Stage(name, command, list(inputs), folder, outputs, **more)

    def _tool_stage(
        self, name: str, words: str, options: Values, inputs: Sequence[Path], outputs: list[Path], **more: Any
    ) -> Stage:
        """A stage that runs ``doll``."""
        command = ["python", "-m", "doll_tools", *words.split()]
        command += [text for option, value in options.items() for text in (f"--{option}", str(value))]
        return self._stage(name, command, inputs, outputs, **more)

    def _bundle_stage(
        self,
        name: str,
        bundle: str,
        configs: Sequence[str | Path],
        inputs: Sequence[Path],
        outputs: list[Path],
        values: Values,
    ) -> Stage:
        """A stage that runs a bundle with some of its configurations by name, or other files, and overrides values."""
        root = bundles_folder() / bundle
        paths = [root / "configs" / f"{part}.json" if isinstance(part, str) else part for part in configs]
        stage = self._stage(name, [], [*paths, *inputs], outputs, bundle=root)
        common = {name: self.preset[name] for name in ("image_size", "num_workers")}
        stage.command = bundle_run(paths, root, **{"output_dir": stage.folder, **common, **values})
        return stage

    def _prepare_images(self) -> Stage:
        options = {"dataset_dir": self.chexpert, "output": self.datalist, **self.preset.get("images", {})}
        folders = [self.chexpert / part for part in str(options.get("parts", ".")).split(",")]
        tables = [folder / name for folder in folders for name in ("train.csv", "valid.csv")]
        if "held_out" in options:
            options["held_out"] = self.chexpert / options["held_out"]
            tables.append(options["held_out"])
        return self._tool_stage("prepare_images", "prepare chexpert", options, tables, [self.datalist])

    def _member(self, name: str) -> Path:
        return self.output / "members" / name / "model.pt"

    def _train_member(self, name: str) -> Stage:
        model = self._member(name)
        values = {**self.images, "ckpt_dir": model.parent, "seed": self.members.index(name)}
        values |= self.preset["classifier"]
        configs = ["train", f"members/{name}"]
        return self._bundle_stage(f"train_{name}", CLASSIFIER, configs, [self.datalist], [model], values)

    def _assemble_committee(self) -> Stage:
        checkpoints, folder = [self._member(name) for name in self.members], self.committee.parent
        options = {"members": ",".join(self.members), "checkpoints": ",".join(map(str, checkpoints)), "output": folder}
        outputs = [self.committee, folder / "committee.json"]
        return self._tool_stage("assemble_committee", "package committee", options, checkpoints, outputs)

    def _committee_stage(
        self, name: str, bundle: str, configs: Sequence[str], outputs: list[Path], values: Values
    ) -> Stage:
        """A stage that runs the committee on the images."""
        overlay = self.committee.with_name("committee.json")
        values = {**self.images, "checkpoint": self.committee, **values}
        inputs = [self.datalist, self.committee]
        if "organ_dir" in values:
            inputs.append(self.output / "organs" / "model" / "model.pt")
        return self._bundle_stage(name, bundle, [*configs, overlay], inputs, outputs, values)

    def _generate_labels(self, name: str, folder: Path, values: Values) -> Stage:
        outputs = [folder / "dataset.json", folder / "labels.csv"]
        return self._committee_stage(name, LABELS, ["inference"], outputs, values)

    def _segment_organs(self) -> list[Stage]:
        """Masks of lungs and heart of all images, by a network that was pre-trained on labels without them."""
        if self.organ_data is None:
            return []
        folder, task = self.output / "organs", find_task("lungs_heart")
        labels, pretrained, model = (
            folder / "labels",
            folder / "pretraining" / "model.pt",
            folder / "model" / "model.pt",
        )
        masks, datalist = folder / "masks", folder / "task" / "dataset.json"
        stages = [
            self._generate_labels("generate_first_labels", labels, self.label_values),
            self._pretrain("pretrain_for_organs", labels, pretrained),
            self._prepare_task("prepare_organs", task, self.organ_data, datalist.parent),
        ]
        values: dict[str, Any] = {"pretrained": pretrained, "ckpt_dir": model.parent, "label_dir": datalist.parent}
        values |= {**self.preset["fine_tuning"], **self.preset["adapter"]}
        stages.append(self._task_stage("fine_tune_organs", ["train"], [pretrained], [model], values, "lungs_heart"))
        values = {**self.images, "section": ["training", "validation", "test"], "checkpoint": model}
        stages.append(self._task_stage("segment_organs", ["inference"], [model], [masks], values, "lungs_heart"))
        return stages

    def _localize(self) -> list[Stage]:
        """Labels against ground truth, where the data set has any."""
        found = [path for name in ("truth.csv", "boxes.csv") if (path := self.chexpert / name).is_file()][:1]
        stages = []
        for truth in found:
            parts = {"all": ["training", "validation", "test"]}
            if truth.name == "truth.csv":
                parts = {"validation": ["validation"], "test": ["test"]}
            for part, sections in parts.items():
                values = {"sections": sections, "ground_truth": truth, **self.label_values}
                outputs = [self.output / "localization" / part / "localization.csv"]
                stages.append(
                    self._committee_stage(f"localize_{part}", LABELS, ["inference", "evaluate"], outputs, values)
                )
                stages[-1].inputs.append(truth)
        return stages

    def _pretrain(self, name: str, labels: Path, model: Path) -> Stage:
        classifier = self._member(self.members[self.preset["backbone_member"]])
        inputs = [*(labels / name for name in ("dataset.json", "labels.csv", "provenance.json")), classifier]
        values = {"dataset_dir": self.chexpert, "label_dir": labels, "classifier": classifier}
        values |= {"ckpt_dir": model.parent, **self.preset["pretraining"]}
        configs: list[str | Path] = ["train", self._network("pretraining")]
        return self._bundle_stage(name, PRETRAINING, configs, inputs, [model], values)

    def _prepare_task(self, name: str, task: Task, data: Path, folder: Path) -> Stage:
        index, datalist = data / "index.csv", folder / "dataset.json"
        if not index.is_file():
            raise InputError(f"{index} does not exist; it is a folder with index.csv and its masks.")
        _, first = next(read_table(index, ()), (0, {}))
        options = {"csv": index, "output": folder, "classes": task.mask_classes(first, str(index))}
        options |= self.preset["task_images"]
        return self._tool_stage(name, "prepare masks", options, [index], [datalist], watched=data)

    def _task_stage(
        self,
        name: str,
        configs: Sequence[str],
        inputs: Sequence[Path],
        outputs: list[Path],
        values: Values,
        task: str | None = None,
    ) -> Stage:
        """A stage that runs the bundle of the task, or of another, on its data."""
        chosen, data, datalist = self.task, self.task_data, self.output / "task" / "dataset.json"
        if task is not None and self.organ_data is not None:
            chosen, data = find_task(task), self.organ_data
            datalist = self.output / "organs" / "task" / "dataset.json"
        values = {"dataset_dir": data, "classes": list(chosen.classes), **values}
        paths: list[str | Path] = [*configs, self._network("task")]
        return self._bundle_stage(name, chosen.bundle, paths, [datalist, *inputs], outputs, values)

    def _tune(self, tuning: str) -> list[Stage]:
        """Training and evaluation with an adapter on the pre-trained network, or of everything from scratch."""
        model = self.tuned / tuning / "model.pt"
        common: dict[str, Any] = {"label_dir": self.output / "task"}
        common |= {"network_def__tuning": "full"} if tuning == "scratch" else {}
        start = {"pretrained": self.pretrained} if tuning == "adapter" else {}
        values = {**common, "ckpt_dir": model.parent, **start, **self.preset["fine_tuning"], **self.preset[tuning]}
        metrics = model.parent / "evaluation" / "metrics.csv"
        return [
            self._task_stage(f"fine_tune_{tuning}", ["train"], [*start.values()], [model], values),
            self._task_stage(
                f"evaluate_{tuning}", ["train", "evaluate"], [model], [metrics], {**common, "checkpoint": model}
            ),
        ]

    def _predict(self) -> Stage:
        model = self.tuned / "adapter" / "model.pt"
        values = {"datalist": self.output / "task" / "dataset.json", "checkpoint": model}
        return self._task_stage("predict", ["inference"], [model], [model.parent / "predictions"], values)
