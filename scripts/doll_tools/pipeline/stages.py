"""A stage: a command, what it reads, and the folder that it writes; and the segmentation tasks by name."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import doll_monai
from doll_monai.utils.errors import InputError


@dataclass
class Stage:
    """One step of the pipeline.

    Attributes:
        name: unique name, also the name of its log and of its MLflow run.
        command: the program and its arguments, exactly as a user would type it.
        inputs: files that it reads; when their content changes, the stage runs anew.
        folder: belongs to the stage alone; deleted before it runs anew.
        outputs: files or folders that are there when the stage is done.
        bundle: folder of the bundle that it runs, whose name is its MLflow experiment; None when nothing is tracked.
        watched: folder whose files' names, sizes and times count as inputs too.
        tracked: arguments that make the command log to MLflow, added by the runner.
    """

    name: str
    command: list[str]
    inputs: list[Path]
    folder: Path
    outputs: list[Path]
    bundle: Path | None = None
    watched: Path | None = None
    tracked: list[str] = field(default_factory=list)

    def fingerprint(self) -> str:
        """Hash of the command, the version of this package and the content of every input.

        Raises:
            InputError: when an input is missing.
        """
        digest = hashlib.sha256(json.dumps([doll_monai.__version__, self.command]).encode())
        for path in self.inputs:
            if not path.is_file():
                raise InputError(f"The stage {self.name} needs {path}, which does not exist.")
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        for path in sorted(self.watched.rglob("*")) if self.watched else ():
            if path.is_file():
                facts = path.stat()
                digest.update(f"{path}:{facts.st_size}:{facts.st_mtime_ns}".encode())
        return digest.hexdigest()

    def shell(self) -> str:
        """The command as one line for a shell."""
        return shlex.join([*self.command, *self.tracked])


def bundle_run(configs: Sequence[Path], bundle: Path, **overrides: Any) -> list[str]:
    """A ``python -m monai.bundle run`` command.

    Args:
        configs: configuration files, later ones override earlier ones.
        bundle: the bundle's folder.
        overrides: values to override; ``::`` in an id is written ``__``.
    """
    files = [str(path) for path in configs]
    config_file = files[0] if len(files) == 1 else str(files)
    command = ["python", "-m", "monai.bundle", "run", "--config_file", config_file, "--bundle_root", str(bundle)]
    for name, value in overrides.items():
        text = json.dumps(value) if isinstance(value, (list, tuple, dict)) else str(value)
        command += [f"--{name.replace('__', '::')}", text]
    return command


@dataclass(frozen=True)
class Task:
    """A task: its bundle, and its classes with the columns of masks whose union each is."""

    bundle: str
    classes: Mapping[str, tuple[str, ...]]

    def mask_classes(self, columns: Collection[str], where: str) -> str:
        """The classes for ``doll prepare masks``, each of its columns that a table has; ``InputError`` for none."""
        parts = []
        for name, wanted in self.classes.items():
            found = [column for column in wanted if column in columns]
            if not found:
                raise InputError(f"{where} has none of the columns {', '.join(wanted)}.")
            parts.append(f"{name}={'+'.join(found)}")
        return ",".join(parts)


LUNGS = ("right_lung", "left_lung", "lungs")
CLAVICLES = ("right_clavicle", "left_clavicle", "clavicles")
TASKS = {
    "lungs": Task("lung_cxr_segmentation", {"lungs": LUNGS}),
    "lungs_heart": Task("jsrt_cxr_segmentation", {"lungs": LUNGS, "heart": ("heart",)}),
    "jsrt": Task("jsrt_cxr_segmentation", {"lungs": LUNGS, "heart": ("heart",), "clavicles": CLAVICLES}),
    "infection": Task("covid_cxr_segmentation", {"infection": ("infection",)}),
}


def find_task(name: str) -> Task:
    """A task by its name; an ``InputError`` where there is none."""
    if name not in TASKS:
        raise InputError(f"There is no task '{name}'; there are: {', '.join(TASKS)}.")
    return TASKS[name]
