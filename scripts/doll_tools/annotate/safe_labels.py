"""What MONAI Label's datastores do not promise: nothing that an annotator saved is lost, whoever else writes."""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from monailabel.datastore.local import DataModel
from monailabel.interfaces.datastore import DefaultLabelTag

from doll_monai.transforms.reading import LoadRadiographd
from doll_monai.utils.atomic import write_atomic
from doll_monai.utils.errors import InputError
from doll_tools.annotate.label_map import PICTURES, class_bits, label_values, read_mask, renumber, write_mask
from doll_tools.annotate.locked_datastore import LockedDatastore

FINAL = DefaultLabelTag.FINAL.value
ORIGINAL = DefaultLabelTag.ORIGINAL.value
EARLIER = ".earlier_labels"
"""Folder of what was replaced or removed."""
NOTES = ".doll_labels.json"
"""What is known of each label, by tag and image: MONAI Label forgets it when an image is away for a while."""
PROPOSED = "proposed_by"
"""Noted of what a model proposed; never of what an annotator saved."""
_NAME = re.compile(r"[\w.+ -]+")


@dataclass(frozen=True)
class Radiograph:
    """Args: path; shape, rows and columns; affine, (4, 4)."""

    path: str
    shape: tuple[int, int]
    affine: np.ndarray


class SafeLabels(LockedDatastore):
    """Labels are whole files that fit their images; what they replace is kept; proposals replace nothing.

    A label is one ``uint8`` mask in its image's grid, whose values ``label_map`` explains. What is noted with it says
    which classes were annotated: of the others nothing is known, though their bits may be 0.
    """

    classes: Sequence[str] = ()
    """All classes that have a bit, in order."""
    usual_classes: Callable[[str], Sequence[str]] | None = None
    """Which classes are annotated in an image when the annotator's program does not say."""
    compare: Callable[[str, np.ndarray, Sequence[str]], dict[str, Any]] | None = None
    """What is noted of a final label beside its classes: image, mask and annotated classes to values."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._load = LoadRadiographd("image")
        super().__init__(*args, **kwargs)

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        _check_name(image_id, "image id")
        self._load({"image": image_filename})
        with self._exclusive():
            self._reload()
            if image_id in self._datastore.objects:
                raise InputError(f"There is an image {image_id} already; give the new one another id.")
            return str(super().add_image(image_id, image_filename, image_info))

    def remove_image(self, image_id: str) -> None:
        raise InputError(f"Images are not deleted by the app; take {image_id} out of the folder yourself.")

    def remove_label(self, label_id: str, label_tag: str) -> None:
        """Take a label away; it is kept among the earlier ones."""
        with self._exclusive():
            self._reload()
            if self._datastore.label(label_id, label_tag) is None:
                raise InputError(f"{label_id} has no label '{label_tag}'.")
            path = Path(self.label_file(label_id, label_tag))
            self._keep(label_id, label_tag)
            del self._datastore.objects[label_id].labels[label_tag]
            self._note(label_id, label_tag, None)
            self._update_datastore_file()
            path.unlink(missing_ok=True)

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Save what an annotator sent.

        Args:
            image_id: the image.
            label_filename: a mask in the image's grid.
            label_tag: ``final``, or a name of the annotator's own.
            label_info: ``classes``, those that were annotated; when absent, those of ``usual_classes``. Classes whose
                pixels changed count as annotated as well. ``label_info``, as 3D Slicer sends it, names the values.

        Returns:
            the label's id, which is the image's.

        Raises:
            InputError: when there is no such image, or the mask does not belong to it; nothing is changed then.
        """
        _check_name(label_tag, "tag")
        image = self.image(image_id)
        bits = class_bits(self.classes)
        classes = label_info.get("classes")
        if classes is None:
            classes = self.usual_classes(image_id) if self.usual_classes else list(bits)
        if not isinstance(classes, (list, tuple)) or not all(isinstance(name, str) for name in classes):
            raise InputError(f"'classes' must be a list of names, not {classes}.")
        unknown = sorted(set(classes) - set(bits))
        if unknown:
            raise InputError(f"There is no class {unknown[0]}; there are: {', '.join(bits)}.")
        mask = read_mask(label_filename, image.shape[::-1], sum(bits.values()))
        mask = renumber(mask, label_info.get("label_info"), label_values(bits))
        with self._exclusive():
            self._reload()
            known: set[str] = set()
            before = np.zeros_like(mask)
            info = {name: value for name, value in label_info.items() if name not in ("label_info", PROPOSED)}
            if self._datastore.label(image_id, label_tag) is not None:
                self._keep(image_id, label_tag)
                earlier = self._known(image_id, label_tag)
                if not earlier.get(PROPOSED):  # of a proposal nothing is taken over
                    before = self._mask(image_id, label_tag, image.shape)
                    known = set(self.known_classes(image_id, label_tag))
                    info = {**earlier, **info}
            drawn = {name for name, bit in bits.items() if ((mask ^ before) & bit & mask).any()}
            annotated = [name for name in bits if name in drawn or name in classes]
            own = sum(bits[name] for name in annotated)
            mask = (mask & own) | (before & ~np.uint8(own))
            if label_tag == FINAL and self.compare and "proposal" not in info:
                info |= self.compare(image_id, mask, annotated)
            info["classes"] = [name for name in bits if name in known or name in annotated]
            self._store(image_id, label_tag, mask, image.affine, info)
        return image_id

    def save_proposal(self, image_id: str, label_filename: str, label_tag: str, model: str) -> str:
        """Save what a model proposed, never over what an annotator saved.

        Raises:
            InputError: when an annotator's label has this tag.
        """
        _check_name(label_tag, "tag")
        image = self.image(image_id)
        mask = read_mask(label_filename, image.shape[::-1], 255)
        with self._exclusive():
            self._reload()
            there = self._datastore.label(image_id, label_tag) is not None
            if label_tag == FINAL or (there and not self._known(image_id, label_tag).get(PROPOSED)):
                raise InputError(
                    f"A proposal for {image_id} is not saved as '{label_tag}', which is for annotators; "
                    f"give label_tag {ORIGINAL}."
                )
            self._store(image_id, label_tag, mask, image.affine, {PROPOSED: model})
        return image_id

    def radiograph(self, image_id: str) -> Radiograph:
        """Size and position of a radiograph.

        Raises:
            InputError: when there is no such radiograph, or it cannot be read.
        """
        path = self.get_image_uri(image_id)
        if not path:
            raise InputError(f"There is no radiograph {image_id} in {self.name()}.")
        image = self._load({"image": path})["image"]
        return Radiograph(path, (image.shape[2], image.shape[1]), np.asarray(image.meta["original_affine"]))

    def annotated(self, classes: Sequence[str]) -> list[dict[str, str]]:
        """Images whose final labels know of all these classes: ``id`` and ``image``, its file."""
        with self._exclusive():
            self._reload()
            return [
                {"id": name, "image": self.image_file(name)}
                for name, item in sorted(self._datastore.objects.items())
                if FINAL in item.labels and set(classes) <= set(self.known_classes(name, FINAL))
            ]

    def known_classes(self, image_id: str, tag: str = FINAL) -> list[str]:
        """Classes that were annotated in a label; those that are drawn in one that came without a word about it."""
        known = self._known(image_id, tag)
        if "classes" in known:
            return list(known["classes"])
        mask = self._mask(image_id, tag, self.image(image_id).shape)
        return [name for name, bit in class_bits(self.classes).items() if (mask & bit).any()]

    def mask(self, image_id: str, tag: str = FINAL) -> np.ndarray | None:
        """A label, (H, W) ``uint8``, or None."""
        with self._mutex:
            if self._datastore.label(image_id, tag) is None:
                return None
            return self._mask(image_id, tag, self.image(image_id).shape)

    def _mask(self, image_id: str, tag: str, shape: tuple[int, int]) -> np.ndarray:
        return read_mask(self.label_file(image_id, tag), shape[::-1], 255)

    def _store(self, image_id: str, tag: str, mask: np.ndarray, affine: np.ndarray, info: dict[str, Any]) -> None:
        """Write file and tables, each whole; the caller has the lock."""
        picture = self._datastore.objects[image_id].image.ext.lower() in (*PICTURES, ".jpg", ".jpeg")
        ending = ".png" if picture else ".nii.gz"
        folder = Path(self._datastore.label_path(tag))
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{image_id}.{os.getpid()}-{threading.get_ident()}{ending}"
        info = {**info, "ts": int(time.time()), "name": f"{image_id}{ending}"}
        try:
            write_mask(temporary, mask, affine)
            self._note(image_id, tag, info)
            os.replace(temporary, folder / f"{image_id}{ending}")
        finally:
            temporary.unlink(missing_ok=True)
        self._datastore.objects[image_id].labels[tag] = DataModel(info=info, ext=ending)
        self._update_datastore_file()

    def _keep(self, image_id: str, tag: str) -> None:
        """Copy a label to the earlier ones."""
        path = Path(self.label_file(image_id, tag))
        folder = Path(self._datastore_path) / EARLIER / image_id
        folder.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            shutil.copy2(path, folder / f"{tag}_{time.time_ns()}{self._to_id(path.name)[1]}")

    def _known(self, image_id: str, tag: str) -> dict[str, Any]:
        """What is known of a label: from MONAI Label's table, or from the notes where that forgot it."""
        label = self._datastore.label(image_id, tag)
        info = dict(label.info) if label is not None else {}
        return info if {"classes", PROPOSED} & set(info) else {**self._notes().get(f"{tag}/{image_id}", {}), **info}

    def _notes(self) -> dict[str, dict[str, Any]]:
        try:
            content: dict[str, dict[str, Any]] = json.loads((Path(self._datastore_path) / NOTES).read_text())
            return content
        except FileNotFoundError:
            return {}

    def _note(self, image_id: str, tag: str, info: dict[str, Any] | None) -> None:
        notes = self._notes()
        notes.pop(f"{tag}/{image_id}", None)
        if info is not None:
            notes[f"{tag}/{image_id}"] = info
        write_atomic(Path(self._datastore_path) / NOTES, json.dumps(notes, indent=1).encode())


def _check_name(name: object, what: str) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name.startswith("."):
        raise InputError(f"The {what} '{name}' is no plain name; use letters, digits, dots, - and _.")
