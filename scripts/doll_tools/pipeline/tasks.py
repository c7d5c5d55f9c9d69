"""The segmentation tasks by the names that all commands use."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from doll_monai.utils.errors import InputError


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
    "jsrt": Task("jsrt_cxr_segmentation", {"lungs": LUNGS, "heart": ("heart",), "clavicles": CLAVICLES}),
    "infection": Task("covid_cxr_segmentation", {"infection": ("infection",)}),
}


def find_task(name: str) -> Task:
    """A task by its name; an ``InputError`` where there is none."""
    if name not in TASKS:
        raise InputError(f"There is no task '{name}'; there are: {', '.join(TASKS)}.")
    return TASKS[name]
