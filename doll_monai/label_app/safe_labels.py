"""What MONAI Label's datastores do not promise: nothing that an annotator saved is lost, whoever else writes."""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from monailabel.datastore.local import DataModel, LocalDatastore, LocalDatastoreModel
from monailabel.interfaces.datastore import DefaultLabelTag

from doll_monai.data.whole_file import write_whole
from doll_monai.errors import InputError
from doll_monai.transforms import LoadFilmd

from .label_map import PICTURES, class_bits, read_mask, write_mask

ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha", ".png", ".jpeg", ".jpg", ".bmp", ".tiff", ".tif", ".dicom", ".dcm")
"""Files that are taken for films, in small or capital letters."""
FINAL = DefaultLabelTag.FINAL.value
ORIGINAL = DefaultLabelTag.ORIGINAL.value
EARLIER = ".earlier_labels"
"""Folder of what was replaced or removed."""
_NAME = re.compile(r"[\w.+ -]+")


class SafeLabels(LocalDatastore):
    """A ``LocalDatastore`` with whole files, one writer at a time, earlier labels kept, and masks that fit their films.

    A label is one ``uint8`` mask in its film's grid, whose values ``label_map`` explains. What is stored with it says
    which classes were annotated: of the others nothing is known, though their bits may be 0.
    """

    classes: Sequence[str] = ()
    """All classes that have a bit, in order."""
    usual_classes: Callable[[str], Sequence[str]] | None = None
    """Which classes are annotated in a film when the annotator's program does not say."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._mutex = threading.RLock()
        self._load = LoadFilmd("image")
        self._between: FileLock | None = None
        super().__init__(*args, **kwargs)

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """No other thread and no other process of this app changes the datastore meanwhile."""
        if self._between is None:
            self._between = FileLock(os.path.join(self._datastore_path, ".doll.lock"))
        with self._mutex, self._between:
            yield

    def _to_id(self, file: str) -> tuple[str, str]:
        ending = next((ending for ending in ENDINGS if file.lower().endswith(ending)), "")
        return (file[: -len(ending)], file[-len(ending) :]) if ending else (file, "")

    def _reconcile_datastore(self) -> None:
        with self._exclusive():
            super()._reconcile_datastore()

    def _update_datastore_file(self, lock: bool = True) -> None:
        content = self._datastore.model_dump(exclude={"base_path"})
        with FileLock(self._lock_file) if lock else nullcontext():
            write_whole(self._datastore_config_path, json.dumps(content, indent=2, default=str).encode())
            self._config_ts = os.stat(self._datastore_config_path).st_mtime

    def _reload(self) -> None:
        """Take up what another process wrote."""
        if os.path.exists(self._datastore_config_path):
            self._datastore = LocalDatastoreModel.model_validate_json(Path(self._datastore_config_path).read_text())
            self._datastore.base_path = self._datastore_path

    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        with self._exclusive():
            self._reload()
            super().update_image_info(image_id, info)

    def update_label_info(self, label_id: str, label_tag: str, info: dict[str, Any]) -> None:
        with self._exclusive():
            self._reload()
            super().update_label_info(label_id, label_tag, info)

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        _check_name(image_id, "image id")
        if any(path.exists() for path in [Path(self._datastore.image_path()) / image_id] if image_id) or (
            image_id in self._datastore.objects
        ):
            raise InputError(f"There is a film {image_id} already; give the new one another id.")
        self._load({"image": image_filename})
        with self._exclusive():
            self._reload()
            return super().add_image(image_id, image_filename, image_info)

    def remove_image(self, image_id: str) -> None:
        raise InputError(f"Films are not deleted by the app; take {image_id} out of the folder yourself.")

    def remove_label(self, label_id: str, label_tag: str) -> None:
        with self._exclusive():
            self._reload()
            if self._datastore.label(label_id, label_tag) is None:
                raise InputError(f"{label_id} has no label '{label_tag}'.")
            self._keep(label_id, label_tag)
            del self._datastore.objects[label_id].labels[label_tag]
            self._update_datastore_file()

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Save what an annotator sent.

        Args:
            image_id: the film.
            label_filename: a mask in the film's grid.
            label_tag: ``final``, or a name of the annotator's own.
            label_info: ``classes``, those that were annotated; when absent, those of ``usual_classes`` and those drawn.

        Returns:
            the label's id, which is the film's.

        Raises:
            InputError: when there is no such film, or the mask does not belong to it; nothing is changed then.
        """
        _check_name(label_tag, "tag")
        film = self.film(image_id)
        bits = class_bits(self.classes)
        mask = read_mask(label_filename, film.shape[::-1], sum(bits.values()))
        classes = label_info.get("classes")
        if classes is None:
            usual = self.usual_classes(image_id) if self.usual_classes else list(bits)
            classes = [name for name, bit in bits.items() if name in usual or (mask & bit).any()]
        unknown = sorted(set(classes) - set(bits))
        if unknown:
            raise InputError(f"There is no class {unknown[0]}; there are: {', '.join(bits)}.")
        with self._exclusive():
            self._reload()
            before = self._datastore.label(image_id, label_tag)
            known = set(before.info.get("classes", [])) if before else set()
            if before:
                earlier = self._mask(image_id, label_tag, film.shape)
                kept = sum(bits[name] for name in known - set(classes))
                mask = (mask & sum(bits[name] for name in classes)) | (earlier & kept)
                self._keep(image_id, label_tag)
            info = {**label_info, "classes": [name for name in bits if name in known | set(classes)]}
            self._store(image_id, label_tag, mask, film.affine, info)
        return image_id

    def save_proposal(self, image_id: str, label_filename: str, label_tag: str, model: str) -> str:
        """Save what a model proposed, never over what an annotator saved.

        Raises:
            InputError: when an annotator's label has this tag.
        """
        _check_name(label_tag, "tag")
        film = self.film(image_id)
        mask = read_mask(label_filename, film.shape[::-1], 255)
        with self._exclusive():
            self._reload()
            before = self._datastore.label(image_id, label_tag)
            if label_tag == FINAL or (before is not None and not before.info.get("proposed_by")):
                raise InputError(
                    f"A proposal for {image_id} is not saved as '{label_tag}', which is for annotators; "
                    f"give label_tag {ORIGINAL}."
                )
            self._store(image_id, label_tag, mask, film.affine, {"proposed_by": model})
        return image_id

    def film(self, image_id: str) -> Film:
        """Size and position of a film.

        Raises:
            InputError: when there is no such film, or it cannot be read.
        """
        path = self.get_image_uri(image_id)
        if not path:
            raise InputError(f"There is no film {image_id} in {self.name()}.")
        image = self._load({"image": path})["image"]
        return Film(path, (image.shape[2], image.shape[1]), np.asarray(image.meta["original_affine"]))

    def annotated(self, classes: Sequence[str]) -> list[dict[str, str]]:
        """Films whose final labels know of all these classes: ``id``, ``image`` and ``label``, both files."""
        with self._exclusive():
            self._reload()
            objects = sorted(self._datastore.objects.items())
        return [
            {"id": name, "image": LocalPaths.image(self, name), "label": LocalPaths.label(self, name, FINAL)}
            for name, item in objects
            if FINAL in item.labels and set(classes) <= set(item.labels[FINAL].info.get("classes", []))
        ]

    def mask(self, image_id: str, label_tag: str = FINAL) -> np.ndarray | None:
        """A label, (H, W) ``uint8``, or None."""
        if self._datastore.label(image_id, label_tag) is None:
            return None
        return self._mask(image_id, label_tag, self.film(image_id).shape)

    def _mask(self, image_id: str, label_tag: str, shape: tuple[int, int]) -> np.ndarray:
        return read_mask(LocalPaths.label(self, image_id, label_tag), shape[::-1], 255)

    def _store(self, image_id: str, tag: str, mask: np.ndarray, affine: np.ndarray, info: dict[str, Any]) -> None:
        """Write file and table, both whole; the caller has the lock."""
        picture = self._datastore.objects[image_id].image.ext.lower() in (*PICTURES, ".jpg", ".jpeg")
        ending = ".png" if picture else ".nii.gz"
        folder = Path(self._datastore.label_path(tag))
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{image_id}.{os.getpid()}-{threading.get_ident()}{ending}"
        try:
            write_mask(temporary, mask, affine)
            os.replace(temporary, folder / f"{image_id}{ending}")
        finally:
            temporary.unlink(missing_ok=True)
        stamp = {"ts": int(time.time()), "name": f"{image_id}{ending}"}
        self._datastore.objects[image_id].labels[tag] = DataModel(info={**info, **stamp}, ext=ending)
        self._update_datastore_file()

    def _keep(self, image_id: str, tag: str) -> None:
        """Move a label to the earlier ones."""
        path = Path(LocalPaths.label(self, image_id, tag))
        folder = Path(self._datastore_path) / EARLIER / image_id
        folder.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            shutil.copy2(path, folder / f"{tag}_{time.time_ns()}{self._to_id(path.name)[1]}")


class Film:
    """Args: path; shape, rows and columns; affine, (4, 4)."""

    def __init__(self, path: str, shape: tuple[int, int], affine: np.ndarray) -> None:
        self.path, self.shape, self.affine = path, shape, affine


class LocalPaths:
    """Where a datastore's files are, without asking a server for them."""

    @staticmethod
    def image(store: Any, image_id: str) -> str:
        """The film's file."""
        return os.path.join(store._datastore.image_path(), image_id + store._datastore.objects[image_id].image.ext)

    @staticmethod
    def label(store: Any, image_id: str, tag: str) -> str:
        """The label's file."""
        ending = store._datastore.objects[image_id].labels[tag].ext
        return os.path.join(store._datastore.label_path(tag), image_id + ending)


def _check_name(name: str, what: str) -> None:
    if not _NAME.fullmatch(name) or name.startswith("."):
        raise InputError(f"The {what} '{name}' is no plain name; use letters, digits, dots, - and _.")
