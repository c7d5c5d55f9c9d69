"""The commands of the measurement: drawing, labels, pre-training, and one comparison of all networks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from doll_monai.data.datalist import write_datalist
from doll_monai.findings import FINDINGS
from doll_monai.utils.atomic import write_whole
from doll_monai.utils.errors import InputError
from doll_monai.utils.json_object import read_json_object
from doll_tools.compare.cells import epochs
from doll_tools.pipeline.stages import Stage, bundle_run
from doll_tools.pretraining_gain.films import (
    FILMS,
    INDEX,
    TASK_CLASSES,
    TRUTH,
    VALID_SHARE,
    films_needed,
    films_to_draw,
    read_films,
    split,
    write_task_index,
)
from doll_tools.pretraining_gain.labels import DATALIST, ERRORS, QUALITY, records
from doll_tools.pretraining_gain.request import PRETRAINING, REFERENCE, TASK, GainRequest, Labels, Point

COMPARISON = "comparison"
NETWORK_PREFIX = "network_def::network"


class GainStages:
    """Makes the stages of a request, and the files that they read.

    Args:
        request: what is measured.
        tracking_uri: MLflow store of the trainings.
    """

    def __init__(self, request: GainRequest, tracking_uri: str) -> None:
        self.request = request
        self.output = request.output
        self.tracking_uri = tracking_uri
        self.films = self.output / FILMS
        self.task = self.output / "task"

    def preparing(self) -> list[Stage]:
        """Drawing films for pre-training and for the task, and writing labels."""
        request = self.request
        needed = films_needed(request.validation_films, max(request.films))
        drawn = films_to_draw(needed, request.seed)
        draw = self._draw("draw_films", self.films, drawn, request.seed)
        task = self._draw("draw_task", self.task / FILMS, request.task_films, request.seed + 1)
        return [draw, task, *map(self._write_labels, request.label_sets)]

    def write_inputs(self) -> None:
        """Write networks, the table of the task's films, and each point's datalist.

        Raises:
            InputError: when a film has no label.
        """
        if self.request.network is None:
            backbone = read_json_object(self.request.backbone_file)["network_def"]
            content = {f"{NETWORK_PREFIX}::backbone": backbone}
        else:
            content = read_json_object(self.request.network)
        self._write_config("task_network", content)
        self._write_config("pretraining_network", pretraining_network(content))
        write_task_index(self.task)
        films = read_films(self.films)
        for point in self.request.points:
            self._write_datalist(point, films)

    def pretraining(self, point: Point) -> Stage:
        """The pre-training of a network; it writes ``model.pt``."""
        folder, request = self.folder(point), self.request
        configs = [*self._configs(PRETRAINING, "train"), request.bundles / "comparison_train.json"]
        configs.append(self._config("pretraining_network"))
        count, length = epochs(request.pretraining_iterations)
        values: dict[str, Any] = {
            "dataset_dir": self.films,
            "label_dir": self.label_dir(point.labels),
            "datalist": self._datalist(point),
            "output_dir": folder,
            "ckpt_dir": folder,
            "image_size": [request.image_size] * 2,
            "batch_size": request.pretraining_batch_size,
            "max_epochs": count,
            "iterations_per_epoch": length,
            "seed": request.seed,
            "cache_rate": 1.0,
            "num_workers": 0,
            **request.overrides,
        }
        command = bundle_run(configs, request.bundles / PRETRAINING, **values)
        source = point.labels.source
        made = source / DATALIST if source else self._label_record(point.labels) / ERRORS
        inputs = [*configs, self._datalist(point), made]
        return Stage(f"pretrain_{point.name}", command, inputs, folder, [self.model(point)], experiment=PRETRAINING)

    def comparison(self) -> Stage:
        """One run of the instrument with all networks; it keeps finished cells itself, so nothing of it is deleted."""
        request, folder = self.request, self.output / COMPARISON
        inits = [REFERENCE[0], *(f"{point.name}={self.model(point)}" for point in request.points)]
        values = {
            "task_data": self.task,
            "output": folder,
            "task": "phantom",
            "classes": TASK_CLASSES,
            "shots": ",".join(map(str, request.shots)),
            "seeds": request.seeds,
            "inits": ",".join(inits),
            "tunings": ",".join(request.tunings),
            "bundle": TASK,
            "network": self._config("task_network"),
            "image_size": request.image_size,
            "iterations": request.iterations,
            "batch_size": request.batch_size,
            "tracking_uri": self.tracking_uri,
            **({"cell_values": request.cell_values} if request.cell_values else {}),
        }
        program = request.bundles.parent / "scripts" / "compare_initialisations.py"
        command = ["python", str(program), *(f"--{name}={value}" for name, value in values.items())]
        inputs = [self.task / INDEX, self._config("task_network"), *map(self.model, request.points)]
        inputs += [request.cell_values] if request.cell_values else []
        own = self.output / ".stages" / COMPARISON
        return Stage("compare", command, inputs, own, [folder / "differences.csv"])

    def folder(self, point: Point) -> Path:
        """The point's folder."""
        return self.output / "pretraining" / point.name

    def model(self, point: Point) -> Path:
        """The point's pre-trained network."""
        return self.folder(point) / "model.pt"

    def label_dir(self, labels: Labels) -> Path:
        """Folder of the label files."""
        return labels.source or self._label_record(labels)

    def quality_file(self, labels: Labels) -> Path:
        """What was measured about the labels."""
        return self._label_record(labels) / QUALITY

    def _label_record(self, labels: Labels) -> Path:
        return self.output / "labels" / labels.name

    def _draw(self, name: str, folder: Path, count: int, seed: int) -> Stage:
        values = {"output": folder, "count": count, "seed": seed, "size": self.request.film_size}
        values["valid_share"] = VALID_SHARE
        command = ["python", "-m", "doll_tools.phantom", *_options(values)]
        return Stage(name, command, [], folder, [folder / "train.csv"])

    def _write_labels(self, labels: Labels) -> Stage:
        folder = self._label_record(labels)
        values: dict[str, Any] = {"films": self.films, "output": folder, "seed": self.request.seed}
        values |= {"validation": self.request.validation_films}
        values |= {"quality": labels.quality} if labels.source is None else {"labels": labels.source}
        command = ["python", "-m", "doll_tools.pretraining_gain", *_options(values)]
        inputs = [self.films / INDEX, self.films / TRUTH] if labels.source is None else [labels.source / DATALIST]
        return Stage(f"label_{labels.name}", command, inputs, folder, [folder / QUALITY])

    def _write_datalist(self, point: Point, films: list[Any]) -> None:
        validation, training = split(films, self.request.validation_films)
        chosen = {"training": training[: point.films], "validation": validation}
        labels = records(self.label_dir(point.labels))
        missing = [film.image for members in chosen.values() for film in members if film.image not in labels]
        if missing:
            raise InputError(
                f"{self.label_dir(point.labels)} has no label of {missing[0]} and {len(missing) - 1} other films; "
                "make labels of all films in the phantom's train.csv."
            )
        sections = {
            name: [{"image": film.image, "label": labels[film.image]} for film in members]
            for name, members in chosen.items()
        }
        write_datalist(self._datalist(point), sections, name=point.name)

    def _datalist(self, point: Point) -> Path:
        return self.output / "datalists" / f"{point.name}.json"

    def _configs(self, bundle: str, *names: str) -> list[Path]:
        return [self.request.bundles / bundle / "configs" / f"{name}.json" for name in names]

    def _config(self, name: str) -> Path:
        return self.output / "configs" / f"{name}.json"

    def _write_config(self, name: str, content: dict[str, Any]) -> None:
        write_whole(self._config(name), (json.dumps(content, indent=4) + "\n").encode())


def pretraining_network(content: dict[str, Any]) -> dict[str, Any]:
    """The pre-training bundle's ``network_def`` from a task's, with a channel for each observation.

    Args:
        content: ``network_def`` of an ``AdaptedNetwork``, or parts of it such as ``network_def::network::backbone``.
    """
    result: dict[str, Any] = {}
    for name, value in content.items():
        if name == "network_def" and isinstance(value, dict) and "network" in value:
            result["network_def"] = value["network"]
        elif name == NETWORK_PREFIX or name.startswith(f"{NETWORK_PREFIX}::"):
            result[f"network_def{name.removeprefix(NETWORK_PREFIX)}"] = value
    result.pop("network_def::out_channels", None)
    return {**result, "network_def::out_channels": len(FINDINGS)}


def _options(values: dict[str, Any]) -> list[str]:
    return [part for name, value in values.items() for part in (f"--{name}", str(value))]
