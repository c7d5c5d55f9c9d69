"""The segmentation tasks by the names that all commands use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from doll_monai.utils.errors import InputError


@dataclass(frozen=True)
class Task:
    """A task: its bundle, and its classes with the columns of masks whose union each is."""

    bundle: str
    classes: Mapping[str, tuple[str, ...]]

    def mask_classes(self, columns: Iterable[str], where: str) -> str:
        """The classes as ``doll prepare masks`` takes them, each of those columns that a table has.

        Raises:
            InputError: when a class has none.
        """
        there, parts = set(columns), []
        for name, wanted in self.classes.items():
            found = [column for column in wanted if column in there]
            if not found:
                raise InputError(f"{where} has none of the columns {', '.join(wanted)}.")
            parts.append(f"{name}={'+'.join(found)}")
        return ",".join(parts)


_LUNGS = ("right_lung", "left_lung", "lungs")
TASKS = {
    "lungs": Task("lung_cxr_segmentation", {"lungs": _LUNGS}),
    "jsrt": Task(
        "jsrt_cxr_segmentation",
        {"lungs": _LUNGS, "heart": ("heart",), "clavicles": ("right_clavicle", "left_clavicle", "clavicles")},
    ),
    "infection": Task("covid_cxr_segmentation", {"infection": ("infection",)}),
}


def find_task(name: str) -> Task:
    """A task by its name.

    Raises:
        InputError: when there is no such task.
    """
    if name not in TASKS:
        raise InputError(f"There is no task '{name}'; there are: {', '.join(TASKS)}.")
    return TASKS[name]
