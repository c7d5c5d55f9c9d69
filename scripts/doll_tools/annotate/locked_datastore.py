"""MONAI Label's datastore in a folder, with one writer at a time and whole files."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from filelock import FileLock
from monailabel.datastore.local import LocalDatastore, LocalDatastoreModel

from doll_monai.utils.atomic import write_atomic

ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha", ".png", ".jpeg", ".jpg", ".bmp", ".tiff", ".tif", ".dicom", ".dcm")
"""Files that are taken for images, in small or capital letters."""


class LockedDatastore(LocalDatastore):
    """A ``LocalDatastore`` whose table is replaced as a whole, by one thread of one process at a time.

    Readers of this process wait while the table is changed: MONAI Label empties it for a moment whenever it looks for
    files that came or went.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._mutex = threading.RLock()
        self._between: FileLock | None = None
        super().__init__(*args, **kwargs)

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """No other thread and no other process of this app changes the datastore meanwhile."""
        with self._mutex:
            if self._between is None:
                self._between = FileLock(os.path.join(self._datastore_path, ".doll.lock"))
            with self._between:
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
            write_atomic(self._datastore_config_path, json.dumps(content, indent=2, default=str).encode())
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

    def get_image_uri(self, image_id: str) -> str:
        with self._mutex:
            return str(super().get_image_uri(image_id))

    def get_image_info(self, image_id: str) -> dict[str, Any]:
        with self._mutex:
            return dict(super().get_image_info(image_id))

    def get_labeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        with self._mutex:
            return list(super().get_labeled_images(label_tag, labels))

    def get_unlabeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        with self._mutex:
            return list(super().get_unlabeled_images(label_tag, labels))

    def list_images(self) -> list[str]:
        with self._mutex:
            return list(super().list_images())

    def status(self) -> dict[str, Any]:
        with self._mutex:
            return dict(super().status())

    def json(self) -> Any:
        with self._mutex:
            return super().json()

    def image_file(self, image_id: str) -> str:
        """An image's file, without asking a server for it."""
        ending = self._datastore.objects[image_id].image.ext
        return os.path.join(self._datastore.image_path(), image_id + ending)

    def label_file(self, image_id: str, tag: str) -> str:
        """A label's file, without asking a server for it."""
        ending = self._datastore.objects[image_id].labels[tag].ext
        return os.path.join(self._datastore.label_path(tag), image_id + ending)
