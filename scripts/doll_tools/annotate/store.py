"""MONAI Label's datastore, made safe: nothing that an annotator saved is lost, whoever else writes."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, cast

import numpy as np
from filelock import FileLock
from monai.data import MetaTensor
from monailabel.datastore.local import DataModel, LocalDatastore

from doll_monai.transforms.reading import read_radiograph
from doll_monai.utils.atomic import write_atomic
from doll_monai.utils.errors import InputError
from doll_tools.annotate.masks import (
    BITS,
    FINAL,
    ORIGINAL,
    PICTURES,
    check_classes,
    drawn_classes,
    read_mask,
    renumber,
    write_mask,
)

IMAGES = (".nii.gz", ".nii", ".nrrd", ".mha", ".png", ".jpeg", ".jpg", ".bmp", ".tiff", ".tif", ".dicom", ".dcm")
"""Suffixes of images, in lower or upper case."""
EARLIER = ".earlier_labels"
"""Folder of what was replaced or removed."""
AWAY = ".doll_away.json"
"""What is known of the labels of images that are missing: MONAI Label forgets it, and they may come back."""
PROPOSED = "proposed_by"
"""Noted of what a model proposed; never of what an annotator saved."""
_NAME = re.compile(r"[\w+ -][\w.+ -]*")


def _waiting(name: str) -> Callable[..., Any]:
    """A method of ``LocalDatastore`` that waits while the table changes: MONAI Label empties it for a moment then."""
    method = getattr(LocalDatastore, name)

    @functools.wraps(method)
    def read(self: SafeDatastore, *args: Any, **kwargs: Any) -> Any:
        with self._mutex:
            return method(self, *args, **kwargs)

    return read


class SafeDatastore(LocalDatastore):
    """A folder of images with labels that fit them.

    One thread of one process writes at a time, files are written atomically, a label that is replaced or removed is
    kept, and a proposal never replaces what an annotator saved. A label is one ``uint8`` mask in its image's grid; see
    ``masks``. Its info says which classes were annotated: of the others nothing is known, though their bits may be 0.

    Args:
        folder: the images; labels go to ``labels/TAG``.
        auto_reload: watch for images that come and go.
    """

    usual_classes: Callable[[str], Sequence[str]] | None = None
    """Classes that are annotated in an image when the annotator's program does not say; all by default."""

    def __init__(self, folder: str, auto_reload: bool = False) -> None:
        self._mutex = threading.RLock()
        os.makedirs(folder, exist_ok=True)
        self._between = FileLock(os.path.join(folder, ".doll.lock"))
        patterns = [f"*{case}" for ending in IMAGES for case in (ending, ending.upper())]
        super().__init__(folder, extensions=patterns, auto_reload=auto_reload)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """No other thread and no other process changes the datastore meanwhile; what others wrote is taken up."""
        with self._mutex, self._between:
            self._config_ts = 0.0
            self._init_from_datastore_file()
            yield

    def _to_id(self, file: str) -> tuple[str, str]:
        ending = next((ending for ending in IMAGES if file.lower().endswith(ending)), "")
        return (file[: -len(ending)], file[-len(ending) :]) if ending else (file, "")

    def _init_from_datastore_file(self, throw_exception: bool = False) -> None:
        with self._mutex:
            super()._init_from_datastore_file(throw_exception)

    def _update_datastore_file(self, lock: bool = True) -> None:
        content = self._datastore.model_dump(exclude={"base_path"})
        with FileLock(self._lock_file) if lock else nullcontext():
            write_atomic(self._datastore_config_path, json.dumps(content, indent=2, default=str).encode())
            self._config_ts = os.stat(self._datastore_config_path).st_mtime

    def _reconcile_datastore(self) -> None:
        """Look for files that came or went; what is known of a missing image's labels waits for its return."""
        with self._writing():
            notes = self.folder / AWAY
            away = json.loads(notes.read_text()) if notes.exists() else {}
            gone = {
                image: {tag: label.info for tag, label in item.labels.items()}
                for image, item in self._datastore.objects.items()
                if item.labels and not os.path.exists(self.image_file(image))
            }
            if gone:
                away |= gone
                write_atomic(notes, json.dumps(away, indent=1).encode())
            super()._reconcile_datastore()
            back = [image for image in away if image in self._datastore.objects]
            for image in back:
                for tag, info in away.pop(image).items():
                    if label := self._datastore.label(image, tag):
                        label.info = {**info, **label.info}
            if back:
                self._update_datastore_file()
                write_atomic(notes, json.dumps(away, indent=1).encode())

    get_image_uri = _waiting("get_image_uri")
    get_image_info = _waiting("get_image_info")
    get_label_uri = _waiting("get_label_uri")
    get_labeled_images = _waiting("get_labeled_images")
    get_unlabeled_images = _waiting("get_unlabeled_images")
    list_images = _waiting("list_images")
    status = _waiting("status")
    json = _waiting("json")

    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        with self._writing():
            super().update_image_info(image_id, info)

    def update_label_info(self, label_id: str, label_tag: str, info: dict[str, Any]) -> None:
        with self._writing():
            super().update_label_info(label_id, label_tag, info)

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        _check_name(image_id, "image id")
        read_radiograph(image_filename)
        with self._writing():
            if image_id in self._datastore.objects:
                raise InputError(f"There is an image {image_id} already; give the new one another id.")
            return str(super().add_image(image_id, image_filename, image_info))

    def remove_image(self, image_id: str) -> None:
        raise InputError(f"Images are not deleted by the app; take {image_id} out of the folder yourself.")

    def remove_label(self, label_id: str, label_tag: str) -> None:
        """Remove a label; it is kept among the earlier ones."""
        with self._writing():
            if self._datastore.label(label_id, label_tag) is None:
                raise InputError(f"{label_id} has no label '{label_tag}'.")
            path = self._keep(label_id, label_tag)
            del self._datastore.objects[label_id].labels[label_tag]
            self._update_datastore_file()
            path.unlink(missing_ok=True)

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Save what an annotator sent.

        Args:
            image_id: the image.
            label_filename: a mask in the image's grid.
            label_tag: ``final``, or a name of the annotator's own.
            label_info: ``classes``, those that were annotated; when absent, those of ``usual_classes``. Classes that
                were drawn count as annotated as well. ``label_info``, as 3D Slicer sends it, names the values.

        Returns:
            the label's id, which is the image's.

        Raises:
            InputError: when there is no such image, or the mask does not belong to it; nothing is changed then.
        """
        _check_name(label_tag, "tag")
        image = self.radiograph(image_id)
        named = self._named_classes(image_id, label_info.get("classes"))
        mask = renumber(read_mask(label_filename, image.shape[1:]), label_info.get("label_info"))
        info = {name: value for name, value in label_info.items() if name not in ("label_info", PROPOSED)}
        with self._writing():
            before, known = np.zeros_like(mask), []
            if (earlier := self._datastore.label(image_id, label_tag)) is not None:
                self._keep(image_id, label_tag)
                if PROPOSED not in earlier.info:  # of a proposal nothing is taken over
                    before, known = self._mask(image_id, label_tag), self.known_classes(image_id, label_tag)
                    info = {**earlier.info, **info}
            annotated = {*named, *drawn_classes(mask & ~before)}
            own = np.uint8(sum(BITS[name] for name in annotated))
            info["classes"] = [name for name in BITS if name in known or name in annotated]
            self._store(image_id, label_tag, (mask & own) | (before & ~own), image.meta["original_affine"], info)
        return image_id

    def save_proposal(self, image_id: str, label_filename: str, label_tag: str, model: str) -> str:
        """Save what a model proposed, never over what an annotator saved.

        Raises:
            InputError: when an annotator's label has this tag.
        """
        _check_name(label_tag, "tag")
        image = self.radiograph(image_id)
        mask = read_mask(label_filename, image.shape[1:])
        with self._writing():
            there = self._datastore.label(image_id, label_tag)
            if label_tag == FINAL or (there is not None and PROPOSED not in there.info):
                raise InputError(
                    f"A proposal for {image_id} is not saved as '{label_tag}', which is for annotators; "
                    f"give label_tag {ORIGINAL}."
                )
            self._store(image_id, label_tag, mask, image.meta["original_affine"], {PROPOSED: model})
        return image_id

    def radiograph(self, image_id: str) -> MetaTensor:
        """The image, (1, W, H) ``float32`` in [0, 1].

        Raises:
            InputError: when there is no such image, or it cannot be read.
        """
        path = self.get_image_uri(image_id)
        if not path:
            raise InputError(f"There is no image {image_id} in {self.name()}.")
        return cast(MetaTensor, read_radiograph(path))

    @property
    def folder(self) -> Path:
        """Of images, labels and MONAI Label's table."""
        return Path(self._datastore_path)

    def image_file(self, image_id: str) -> str:
        """An image's file; a server is not asked for it."""
        return os.path.join(self._datastore.image_path(), image_id + self._datastore.objects[image_id].image.ext)

    def known_classes(self, image_id: str, tag: str = FINAL) -> list[str]:
        """Classes that were annotated in a label; those that are drawn in one that came without a word about it."""
        info = self._datastore.label(image_id, tag).info
        return list(info["classes"]) if "classes" in info else drawn_classes(self._mask(image_id, tag))

    def mask(self, image_id: str, tag: str = FINAL) -> np.ndarray | None:
        """A label, (H, W) ``uint8``, or None."""
        with self._mutex:
            return None if self._datastore.label(image_id, tag) is None else self._mask(image_id, tag)

    def _mask(self, image_id: str, tag: str) -> np.ndarray:
        return read_mask(super().get_label_uri(image_id, tag), self.radiograph(image_id).shape[1:])

    def _named_classes(self, image_id: str, classes: Any) -> Sequence[str]:
        if classes is None:
            return self.usual_classes(image_id) if self.usual_classes else list(BITS)
        if not isinstance(classes, (list, tuple)) or not all(isinstance(name, str) for name in classes):
            raise InputError(f"'classes' must be a list of names, not {classes}.")
        check_classes(classes)
        return classes

    def _store(self, image_id: str, tag: str, mask: np.ndarray, affine: np.ndarray, info: dict[str, Any]) -> None:
        """Write the mask, then the table; the caller has the lock."""
        item = self._datastore.objects[image_id]
        ending = ".png" if item.image.ext.lower() in (*PICTURES, ".jpg", ".jpeg") else ".nii.gz"
        with tempfile.TemporaryDirectory() as folder:
            temporary = Path(folder) / f"mask{ending}"
            write_mask(temporary, mask, affine)
            write_atomic(Path(self._datastore.label_path(tag)) / f"{image_id}{ending}", temporary.read_bytes())
        info = {**info, "ts": int(time.time()), "name": f"{image_id}{ending}"}
        item.labels[tag] = DataModel(info=info, ext=ending)
        self._update_datastore_file()

    def _keep(self, image_id: str, tag: str) -> Path:
        """Copy a label to the earlier ones; returns its own file."""
        path = Path(super().get_label_uri(image_id, tag))
        folder = self.folder / EARLIER / image_id
        folder.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            shutil.copy2(path, folder / f"{tag}_{time.time_ns()}{self._to_id(path.name)[1]}")
        return path


def _check_name(name: object, what: str) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InputError(f"The {what} '{name}' is no plain name; use letters, digits, dots, - and _.")
