"""What is to be compared: mistakes are found here, before anything is written or trained."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from doll_monai.data.datalist import read_table
from doll_monai.networks.parameters import ParameterCount
from doll_monai.networks.weights import file_hash
from doll_monai.utils.errors import InputError
from doll_monai.utils.json_object import read_json_object
from doll_tools.compare import split
from doll_tools.compare.bundle import SCORING, TRAINING, TaskBundle
from doll_tools.compare.cells import Cell, epochs, grid, values_of
from doll_tools.compare.initializations import parse_initializations
from doll_tools.folders import bundles_folder
from doll_tools.prepare.masks import parse_classes

HALVES = {"lungs": ("right_lung", "left_lung")}
"""Columns that a class is made of where a table has no column of its name."""


@dataclass
class ComparisonRequest:
    """The arguments of ``doll compare``, checked; ``doll_tools.compare.command`` says what each is.

    Raises:
        InputError: for a mistake in any of them.
    """

    task_data: Path
    output: Path
    shots: Sequence[int]
    seeds: int
    initializations: Sequence[str]
    tunings: Sequence[str]
    bundle: str = "lung_cxr_segmentation"
    task: str | None = None
    classes: str | Sequence[str] | None = None
    pretrained: Path | None = None
    classifier: Path | None = None
    member: int | None = None
    network: Path | None = None
    image_size: Sequence[int] | None = None
    iterations: int = 200
    batch_size: int = 8
    test_data: Path | None = None
    test_classes: str | Sequence[str] | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    cell_values: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._check_numbers()
        self.task = self.task or self.task_data.name
        self.setup = TaskBundle(bundles_folder(), self.bundle, self.network)
        self.columns = _columns(self.task_data, self.classes, self.setup.classes)
        self.setup.classes = list(self.columns)
        for values in (self.values, *self.cell_values.values()):
            self.setup.check_values(values)
        self.images = split.read_images(self.task_data, self.columns)
        self.sections = split.sections_of(self.images)
        split.first_shots(self.sections["training"], max(self.shots), 0)
        self._read_elsewhere()
        self.initial = parse_initializations(self.initializations, self.pretrained, self.classifier, self.member)
        self.cells = grid(list(self.initial), self.tunings, self.shots, self.seeds)
        self._build_networks()

    def own_values(self, cell: Cell) -> dict[str, Any]:
        """The values that a cell does not share with all others."""
        return values_of(cell, self.cell_values)

    def cell_overrides(self, cell: Cell) -> dict[str, Any]:
        """All values of the bundle that were given for a cell."""
        size = {} if self.image_size is None else {"image_size": list(self.image_size)}
        return {**size, "batch_size": self.batch_size, **self.values, **self.own_values(cell)}

    @cached_property
    def settings(self) -> dict[str, Any]:
        """All that the cells of one folder have in common."""
        names = ("bundle", "task", "image_size", "iterations", "batch_size", "values")
        configs = {*self.setup.configs(TRAINING), *self.setup.configs(SCORING)}
        return {
            **{name: getattr(self, name) for name in names},
            "classes": {name: "+".join(columns) for name, columns in self.columns.items()},
            "configurations": {path.name: file_hash(path) for path in sorted(configs)},
            "split": {"salt": split.SALT, **split.SHARES},
            "images": {section: len(images) for section, images in self.sections.items()},
            "task_data": split.data_hash(self.task_data, self.images),
            "test_data": split.data_hash(self.test_data, self.elsewhere) if self.test_data else None,
        }

    def _check_numbers(self) -> None:
        numbers = [(name, getattr(self, name)) for name in ("seeds", "iterations", "batch_size")]
        numbers += [("shots", count) for count in self.shots]
        numbers += [("image_size", length) for length in self.image_size or ()]
        for name, value in numbers:
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InputError(f"{name} must be a whole number of at least 1, not {value}.")
        epochs(self.iterations)
        for name, given in (("shots", self.shots), ("tunings", self.tunings)):
            if not given or len(set(given)) < len(given):
                raise InputError(f"{name} must be different ones, not {','.join(map(str, given))}.")
        for pattern in self.cell_values:
            if "/" not in pattern:
                raise InputError(f"'{pattern}' names no cells; write INITIALIZATION/TUNING, such as */full.")

    def _read_elsewhere(self) -> None:
        """Columns and images of the data from elsewhere; nowhere the same image in two sections."""
        self.elsewhere_columns: dict[str, tuple[str, ...]] = {}
        self.elsewhere: list[split.Radiograph] = []
        sections = {name: (self.task_data, images) for name, images in self.sections.items()}
        if self.test_data is not None:
            self.elsewhere_columns = _columns(self.test_data, self.test_classes, list(self.columns), some=True)
            unknown = sorted(set(self.elsewhere_columns) - set(self.columns))
            if unknown:
                raise InputError(f"The class {unknown[0]} of test_classes is none of: {', '.join(self.columns)}.")
            self.elsewhere = split.read_images(self.test_data, self.elsewhere_columns)
            sections["elsewhere"] = self.test_data, self.elsewhere
        split.check_apart(sections)

    def _build_networks(self) -> None:
        """Build every network once: that it can be, that its checkpoint fits, and how many parameters it has."""
        self.parameters: dict[tuple[str, str], ParameterCount] = {}
        known: dict[str, ParameterCount] = {}
        for cell in grid(list(self.initial), self.tunings, self.shots[:1], 1):
            values = self.cell_overrides(cell)
            network = json.dumps([cell.tuning, values], default=str)
            if network not in known:
                known[network] = self.setup.parameters(cell.tuning, values)
            self.parameters[cell.initialization, cell.tuning] = known[network]
            if cell.tuning == self.tunings[0]:
                self.setup.initialized(self.initial[cell.initialization], values, 0)


def read_cell_values(path: Path | None) -> dict[str, dict[str, Any]]:
    """Overrides of some cells from a JSON file; ``InputError`` when it is not an object of objects."""
    content = {} if path is None else read_json_object(path)
    for pattern, values in content.items():
        if not isinstance(values, dict):
            raise InputError(f"{path}: '{pattern}' must be an object of values, such as {{\"learning_rate\": 0.001}}.")
    return content


def _columns(
    folder: Path, classes: str | Sequence[str] | None, names: Sequence[str], some: bool = False
) -> dict[str, tuple[str, ...]]:
    """Mask columns of each class: those given, else the column of its name or its halves; ``some`` may be missing."""
    if classes is not None:
        return parse_classes(classes)
    index = folder / split.INDEX
    _, header = next(read_table(index, ()), (0, {}))
    options: dict[str, tuple[str, ...]] = {
        name: (name,) if name in header else HALVES.get(name, (name,)) for name in names
    }
    found = {name: parts for name, parts in options.items() if all(part in header for part in parts)}
    missing = [name for name in names if name not in found]
    if missing and not (some and found):
        raise InputError(f"{index} has no column {missing[0]}; say by --classes which columns the classes are.")
    return found
