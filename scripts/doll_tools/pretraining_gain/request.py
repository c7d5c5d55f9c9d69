"""What is to be measured: mistakes are found here, before anything is drawn or trained."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from doll_monai.networks.weights import file_hash
from doll_monai.utils.errors import InputError
from doll_monai.utils.json_object import read_json_object
from doll_tools.compare.cells import epochs
from doll_tools.compare.request import read_cell_values
from doll_tools.pretraining_gain.labels import DATALIST, check_quality

PRETRAINING, TASK = "doll_cxr_segmentation", "lung_cxr_segmentation"
CLASSIFIER, RESNET = "chexpert_cxr_classification", "resnet"
REFERENCE = ("scratch", "full")
"""Start and tuning that gains are measured against."""
OUR_VALUES = (
    *("bundle_root", "dataset_dir", "label_dir", "datalist", "output_dir", "ckpt_dir", "checkpoint", "classifier"),
    *("seed", "image_size", "batch_size", "max_epochs", "iterations_per_epoch", "network_def"),
)
"""Values of the pre-training bundle that are set here."""


@dataclass(frozen=True)
class Labels:
    """Labels to pre-train on: of a wanted quality, or made elsewhere (``source``)."""

    name: str
    quality: float | str | None = None
    source: Path | None = None


@dataclass(frozen=True)
class Point:
    """A pre-trained network."""

    labels: Labels
    films: int

    @property
    def name(self) -> str:
        """Its name as an initialisation."""
        return f"{self.labels.name}_films{self.films}"


@dataclass
class GainRequest:
    """The arguments of the measurement, checked.

    Attributes:
        bundles: folder of the bundles.
        output: folder for everything that is made.
        qualities: wanted label qualities.
        films: numbers of pre-training films.
        labels: ``NAME=DIR`` of label folders made elsewhere.
        shots, seeds, tunings: of the comparison.
        backbone: name of a ResNet among the classifier's members, for a PSPNet.
        network: as in ``compare_initialisations``, instead of ``backbone``.
        image_size, film_size: side of what networks see, and shorter side of the films.
        iterations, batch_size: of the task's trainings.
        pretraining_iterations, pretraining_batch_size: of the pre-trainings, whatever the number of films.
        pretraining_values: JSON file with other values of ``doll_cxr_segmentation``.
        cell_values: as in ``compare_initialisations``.
        validation_films: of pre-training.
        task_films: films that are drawn for the task.
        seed: of films, errors and pre-training.

    Raises:
        InputError: for a mistake in any of them.
    """

    bundles: Path
    output: Path
    qualities: Sequence[Any] = (1.0, 0.75, 0.5, 0.25, "none")
    films: Sequence[int] = (50, 200, 800)
    labels: Sequence[str] = ()
    shots: Sequence[int] = (5,)
    seeds: int = 3
    tunings: Sequence[str] = ("full",)
    backbone: str = "resnet18"
    network: Path | None = None
    image_size: int = 96
    film_size: int = 128
    iterations: int = 100
    batch_size: int = 8
    pretraining_iterations: int = 300
    pretraining_batch_size: int = 16
    pretraining_values: Path | None = None
    cell_values: Path | None = None
    validation_films: int = 32
    task_films: int = 200
    seed: int = 0
    overrides: Mapping[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        for name in ("image_size", "film_size", "batch_size", "pretraining_batch_size", "validation_films"):
            _check_whole(name, getattr(self, name))
        for name in ("seeds", "task_films"):
            _check_whole(name, getattr(self, name))
        _check_whole("seed", self.seed, 0)
        for name in ("films", "shots"):
            numbers = getattr(self, name)
            if not numbers or len(set(numbers)) < len(numbers):
                raise InputError(f"{name} must be different numbers of films, such as 50,200.")
            for number in numbers:
                _check_whole(name, number)
        for name in ("iterations", "pretraining_iterations"):
            _check_whole(name, getattr(self, name))
            try:
                epochs(getattr(self, name))
            except ValueError as error:
                raise InputError(f"{name}: {error}.") from error
        if REFERENCE[1] not in self.tunings:
            raise InputError(
                f"tunings must contain {REFERENCE[1]}: gains are against a network trained so from scratch."
            )
        read_cell_values(self.cell_values)
        self.overrides = {} if self.pretraining_values is None else read_json_object(self.pretraining_values)
        taken = sorted(name for name in self.overrides if name.partition("::")[0] in OUR_VALUES)
        if taken:
            raise InputError(f"{self.pretraining_values}: '{taken[0]}' is set for each network; leave it out.")
        if not self.backbone_file.is_file() or not self.backbone.startswith(RESNET):
            known = sorted(path.stem for path in self.backbone_file.parent.glob(f"{RESNET}*.json"))
            raise InputError(f"There is no backbone '{self.backbone}'; there are: {', '.join(known)}.")
        self._check_labels()

    @property
    def backbone_file(self) -> Path:
        """Configuration with the backbone's definition."""
        return self.bundles / CLASSIFIER / "configs" / "members" / f"{self.backbone}.json"

    @cached_property
    def label_sets(self) -> list[Labels]:
        """The labels, in the order of the arguments."""
        wanted = [check_quality(quality) for quality in self.qualities]
        made = [Labels(q if isinstance(q, str) else f"iou{round(100 * q):03d}", q) for q in wanted]
        return [*made, *map(_parse_labels, self.labels)]

    @property
    def points(self) -> list[Point]:
        """All networks that are pre-trained."""
        return [Point(labels, number) for labels in self.label_sets for number in self.films]

    @cached_property
    def settings(self) -> dict[str, Any]:
        """All that the networks of one folder have in common; label sets and numbers of films may join later."""
        names = ("image_size", "film_size", "pretraining_iterations", "pretraining_batch_size")
        files = ("network", "pretraining_values")
        paths = {name: getattr(self, name) for name in files}
        return {
            **{name: getattr(self, name) for name in (*names, "validation_films", "task_films", "seed")},
            "backbone": None if self.network else self.backbone,
            **{name: file_hash(path) if path else None for name, path in paths.items()},
        }

    def _check_labels(self) -> None:
        names = [labels.name for labels in self.label_sets]
        double = sorted({name for name in names if names.count(name) > 1})
        if double:
            raise InputError(f"The labels '{double[0]}' occur twice; qualities must differ by a hundredth at least.")
        if not names:
            raise InputError("There are no labels; give --qualities or --labels.")


def _parse_labels(text: str) -> Labels:
    name, _, folder = str(text).partition("=")
    if not re.fullmatch(r"[A-Za-z]\w*", name) or not folder:
        raise InputError(f"The labels '{text}' cannot be read; write NAME=DIR.")
    source = Path(folder).resolve()
    if not (source / DATALIST).is_file():
        raise InputError(f"{source} has no {DATALIST}; give a folder that doll_cxr_label_generation wrote.")
    return Labels(name, None, source)


def _check_whole(name: str, value: Any, least: int = 1) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(f"{name} must be a whole number of at least {least}, not {value}.")
