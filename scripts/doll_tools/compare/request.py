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
from doll_tools.compare.bundle import SCORING, TRAINING, TaskBundle
from doll_tools.compare.cells import Cell, epochs, grid, values_of
from doll_tools.compare.split import (
    INDEX,
    SALT,
    SHARES,
    Radiograph,
    check_apart,
    data_hash,
    first_shots,
    image_hashes,
    read_images,
    sections_of,
)
from doll_tools.compare.starts import Start, parse_starts
from doll_tools.prepare.masks import parse_classes

HALVES = {"lungs": ("right_lung", "left_lung")}
"""Columns that a class is made of where a table has no column of its name."""

Columns = Mapping[str, tuple[str, ...]]


@dataclass
class ComparisonRequest:
    """The arguments of a comparison, checked.

    Attributes:
        bundles: folder of the bundles.
        task_data: folder with ``index.csv``, images and masks.
        output: folder for everything that is made.
        shots, seeds, inits, tunings: the grid; see ``compare_initializations``.
        bundle: name of the task's bundle.
        task: name of the task in the tables; the data folder's by default.
        classes: as in ``prepare_masks``; by default the bundle's classes, each the column of its name.
        pretrained, classifier, member: checkpoints of the initializations; see ``parse_starts``.
        network: configuration file with ``network_def``.
        image_size, batch_size: of training.
        iterations: of every training; a multiple of 20, or fewer.
        test_data: folder of images from elsewhere.
        test_classes: those of its classes that are scored; by default those of the task that it has.
        values: other values of the bundle, for all cells.
        cell_values: ``INIT/TUNING`` to values for those cells; ``*`` stands for anything.

    Raises:
        InputError: for a mistake in any of them.
    """

    bundles: Path
    task_data: Path
    output: Path
    shots: Sequence[int]
    seeds: int
    inits: Sequence[str]
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
        own = TaskBundle(self.bundles, self.bundle, self.network)
        self.columns = _columns(self.task_data, self.classes, own.classes)
        self.setup = TaskBundle(self.bundles, self.bundle, self.network, list(self.columns))
        self._check_values()
        self.images = read_images(self.task_data, self.columns)
        self.sections = sections_of(self.images)
        first_shots(self.sections["training"], max(self.shots), 0)
        self._check_elsewhere()
        self.starts = parse_starts(self.inits, self.pretrained, self.classifier, self.member)
        self._build_networks()

    @property
    def cells(self) -> list[Cell]:
        """The grid."""
        return grid([start.name for start in self.starts], self.tunings, self.shots, self.seeds)

    def start(self, cell: Cell) -> Start:
        """The start of a cell."""
        return next(start for start in self.starts if start.name == cell.init)

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
            "network": file_hash(self.network) if self.network else None,
            "configurations": {path.name: file_hash(path) for path in sorted(configs)},
            "split": {"salt": SALT, **SHARES},
            "images": {section: len(images) for section, images in self.sections.items()},
            "task_data": data_hash(self.task_data, self.images),
            "test_data": data_hash(self.test_data, self.elsewhere) if self.test_data else None,
        }

    def _check_numbers(self) -> None:
        for name in ("seeds", "iterations", "batch_size"):
            _check_whole(name, getattr(self, name))
        if not self.shots or len(set(self.shots)) < len(self.shots):
            raise InputError("shots must be different numbers of images, such as 1,5,10.")
        for count in self.shots:
            _check_whole("shots", count)
        if self.image_size is not None:
            for length in self.image_size:
                _check_whole("image_size", length)
        try:
            epochs(self.iterations)
        except ValueError as error:
            raise InputError(f"{error}.") from error
        double = sorted({name for name in self.tunings if list(self.tunings).count(name) > 1})
        if not self.tunings or double:
            raise InputError(f"tunings must be different ones, such as full,adapter, not {','.join(self.tunings)}.")

    def _check_values(self) -> None:
        for values in (self.values, *self.cell_values.values()):
            self.setup.check_values(values)
        known = [f"{name.partition('=')[0]}/{tuning}" for name in self.inits for tuning in self.tunings]
        for pattern in self.cell_values:
            if "/" not in pattern:
                raise InputError(f"'{pattern}' names no cells; write INIT/TUNING, such as {known[0]} or */full.")

    def _build_networks(self) -> None:
        """Build every network once: that it can be, that its start fits it, and how many parameters it has."""
        self.parameters: dict[tuple[str, str], ParameterCount] = {}
        known: dict[str, ParameterCount] = {}
        for cell in grid([start.name for start in self.starts], self.tunings, self.shots[:1], 1):
            values = self.cell_overrides(cell)
            network = json.dumps([cell.tuning, values], default=str)
            if network not in known:
                known[network] = self.setup.parameters(cell.tuning, values)
            self.parameters[cell.init, cell.tuning] = known[network]
            if cell.tuning == self.tunings[0]:
                self.setup.initialized(self.start(cell), values, 0)

    def _check_elsewhere(self) -> None:
        """Columns and images of the data from elsewhere; nowhere the same image in two sections."""
        self.elsewhere_columns: Columns = {}
        self.elsewhere: list[Radiograph] = []
        hashes = {section: image_hashes(self.task_data, images) for section, images in self.sections.items()}
        if self.test_data is not None:
            self.elsewhere_columns = _columns(self.test_data, self.test_classes, list(self.columns), some=True)
            unknown = sorted(set(self.elsewhere_columns) - set(self.columns))
            if unknown:
                raise InputError(f"The class {unknown[0]} of test_classes is none of: {', '.join(self.columns)}.")
            self.elsewhere = read_images(self.test_data, self.elsewhere_columns)
            hashes["elsewhere"] = image_hashes(self.test_data, self.elsewhere)
        check_apart(hashes)


def read_cell_values(path: Path | None) -> dict[str, dict[str, Any]]:
    """Overrides of some cells from a JSON file.

    Raises:
        InputError: when it is not an object of objects.
    """
    content = {} if path is None else read_json_object(path)
    for pattern, values in content.items():
        if not isinstance(values, dict):
            raise InputError(
                f"{path}: '{pattern}' must have an object of values, such as {{\"learning_rate\": 0.001}}."
            )
    return content


def _columns(
    folder: Path, classes: str | Sequence[str] | None, names: Sequence[str], some: bool = False
) -> dict[str, tuple[str, ...]]:
    """Mask columns of each class: those that are given, else the column of its name, else its halves.

    Args:
        folder: of the table.
        classes: given classes.
        names: of the classes by default.
        some: whether the table may lack classes.
    """
    if classes is not None:
        return parse_classes(classes)
    index = folder / INDEX
    if not index.is_file():
        raise InputError(f"{index} does not exist; give a folder with {INDEX}, its images and their masks.")
    _, header = next(read_table(index, ()), (0, {}))
    found: dict[str, tuple[str, ...]] = {}
    for name in names:
        halves = HALVES.get(name, ())
        if name in header:
            found[name] = (name,)
        elif halves and all(half in header for half in halves):
            found[name] = halves
        elif not some:
            raise InputError(f"{index} has no column {name}; say by --classes which columns the classes are.")
    if not found:
        raise InputError(f"{index} has none of the columns {', '.join(names)}; give --test_classes.")
    return found


def _check_whole(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"{name} must be a whole number of at least 1, not {value}.")
