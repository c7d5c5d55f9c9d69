"""MONAI Label's datastore, made safe: nothing that an annotator saved is lost, whoever else writes."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
from filelock import FileLock
from monai.data import MetaTensor
from monailabel.datastore.local import DataModel, ImageLabelModel, LocalDatastore, LocalDatastoreModel
from monailabel.interfaces.exception import ImageNotFoundException, LabelNotFoundException

from doll_monai.data.image_files import images_among
from doll_monai.transforms.reading import read_radiograph
from doll_monai.utils.atomic import write_atomic
from doll_monai.utils.errors import InputError
from doll_monai.utils.json_object import read_json_object
from doll_tools.annotate.masks import BITS, FINAL, IMAGES, PICTURES, check_classes, drawn_classes, read_mask, write_mask

EARLIER = ".earlier_labels"  # folder of what was replaced or removed
PROPOSED = "proposed_by"  # noted of what a model proposed, never of what an annotator saved
_NAME = re.compile(r"[\w+ -][\w.+ -]*")


class Table(LocalDatastoreModel):
    """MONAI Label's table; ``away`` has what is known of labeled images that are missing, and may come back."""

    away: dict[str, ImageLabelModel] = {}  # noqa: RUF012  (pydantic copies it)


class SafeDatastore(LocalDatastore):
    """A folder of images with labels that fit them.

    One thread of one process writes at a time, files are written atomically, a label that is replaced or removed is
    kept. A label is one ``uint8`` mask in its image's grid; see ``masks``. Its info says which classes were annotated:
    of the others nothing is known, though their bits may be 0.

    Args:
        folder: the images; labels go to ``labels/TAG``.
        usual_classes: classes that are annotated in an image when the annotator's program does not say.
    """

    def __init__(self, folder: str, usual_classes: Callable[[str], Sequence[str]], auto_reload: bool = False) -> None:
        self.folder, self.usual_classes = Path(folder), usual_classes
        self.folder.mkdir(parents=True, exist_ok=True)
        self._between = FileLock(self.folder / ".doll.lock")
        patterns = [f"*{case}" for ending in IMAGES for case in (ending, ending.upper())]
        super().__init__(folder, extensions=patterns, auto_reload=auto_reload)
        if auto_reload:
            self._handler.on_moved = self._on_moved

    @contextmanager
    def _changing(self) -> Iterator[Table]:
        """The newest table, to be changed by no other thread or process; readers see it once it is written."""
        with self._between:
            table = self._read()
            before = table.model_copy(deep=True)
            yield table
            if table != before:
                content = table.model_dump_json(exclude={"base_path"}, indent=2)
                write_atomic(self._datastore_config_path, content.encode())
            self._datastore = table

    def _read(self) -> Table:
        path, new = Path(self._datastore_config_path), {"name": self.folder.name, "description": ""}
        table = Table.model_validate(read_json_object(path) if path.exists() else new)
        table.base_path = self._datastore_path
        return table

    def _init_from_datastore_file(self, throw_exception: bool = False) -> None:
        with self._between:
            self._datastore = self._read()

    def _on_moved(self, event: Any) -> None:
        """Another process has written the table: MONAI Label itself only notices files that change in their place."""
        if event.dest_path == self._datastore_config_path:
            self._init_from_datastore_file()

    def _to_id(self, file: str) -> tuple[str, str]:
        ending = next((ending for ending in IMAGES if file.lower().endswith(ending)), "")
        return (file[: -len(ending)], file[-len(ending) :]) if ending else (file, "")

    def endings(self, folder: str | Path, images: bool = False) -> dict[str, list[str]]:
        """Endings of the labels in a folder, or of the images, which may have none, by their ids."""
        found: dict[str, list[str]] = {}
        names = sorted(entry.name for entry in os.scandir(folder) if entry.is_file() and entry.name[0] != ".")
        if images:
            names = [os.path.basename(path) for path in images_among(str(folder), names, Counter())]
        for name, ending in map(self._to_id, names):
            if ending or images:
                found.setdefault(name, []).append(ending)
        return found

    def _reconcile_datastore(self) -> None:
        """Take up files that came, forget those that went; what is known of a missing image waits for its return."""
        with self._changing() as table:
            images, known = self.endings(table.image_path(), images=True), {**table.away, **table.objects}
            folders = [path for path in Path(table.label_path(None)).iterdir() if path.is_dir()]
            labels = {path.name: self.endings(path) for path in folders}
            table.away = {name: item for name, item in known.items() if item.labels and name not in images}
            table.objects = {}
            for name, endings in images.items():
                item = table.objects[name] = known.get(name) or ImageLabelModel(image=DataModel())
                item.image = _present(name, item.image, endings)
                there = {tag: found[name] for tag, found in labels.items() if name in found}
                item.labels = {tag: _present(name, item.labels.get(tag), found) for tag, found in there.items()}

    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        with self._changing() as table:
            if image_id not in table.objects:
                raise ImageNotFoundException(f"Image {image_id} not found")
            table.objects[image_id].image.info.update(info)

    def update_label_info(self, label_id: str, label_tag: str, info: dict[str, Any]) -> None:
        with self._changing() as table:
            _label(table, label_id, label_tag).info.update(info)

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        _check_name(image_id, "image id")
        read_radiograph(image_filename)
        ending = self._to_id(image_filename)[1]
        with self._changing() as table:
            if image_id in table.objects:
                raise InputError(f"There is an image {image_id} already; give the new one another id.")
            write_atomic(self.folder / f"{image_id}{ending}", Path(image_filename).read_bytes())
            table.objects[image_id] = ImageLabelModel(image=_data(image_id, ending, image_info))
        return image_id

    def remove_image(self, image_id: str) -> None:
        raise InputError(f"Images are not deleted by the app; take {image_id} out of the folder yourself.")

    def remove_label(self, label_id: str, label_tag: str) -> None:
        """Remove a label; it is kept among the earlier ones."""
        with self._changing() as table:
            path = self._keep(label_id, label_tag, _label(table, label_id, label_tag))
            del table.objects[label_id].labels[label_tag]
            path.unlink(missing_ok=True)

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Save a mask that an annotator sent.

        Args:
            label_info: ``classes``, those that were annotated; when absent, those of ``usual_classes``. Classes that
                were drawn count as annotated as well. ``label_info``, as 3D Slicer sends it, names the values.

        Raises:
            InputError: when there is no such image, or the mask does not belong to it; nothing is changed then.
        """
        named = label_info.get("classes", self.usual_classes(image_id))
        check_classes(named)
        mask, image = self._mask(image_id, label_filename, label_tag, label_info.get("label_info") or [])
        info = {name: value for name, value in label_info.items() if name not in ("label_info", PROPOSED)}
        with self._changing() as table:
            before, known = np.zeros_like(mask), list[str]()
            if earlier := table.label(image_id, label_tag):
                path = self._keep(image_id, label_tag, earlier)
                if PROPOSED not in earlier.info:  # of a proposal nothing is taken over
                    before = read_mask(path, image)
                    known = earlier.info.get("classes") or drawn_classes(before)
                    info = {**earlier.info, **info}
            annotated = {*named, *drawn_classes(mask & ~before)}
            own = np.uint8(sum(BITS[name] for name in annotated))
            info["classes"] = [name for name in BITS if name in known or name in annotated]
            self._store(table, image_id, label_tag, (mask & own) | (before & ~own), image, info)
        return image_id

    def save_proposal(self, image_id: str, label_filename: str, label_tag: str, model: str) -> str:
        """Save what a model proposed; an ``InputError`` where this would replace what an annotator saved."""
        mask, image = self._mask(image_id, label_filename, label_tag)
        with self._changing() as table:
            there = table.label(image_id, label_tag)
            if label_tag == FINAL or (there is not None and PROPOSED not in there.info):
                raise InputError(
                    f"A proposal for {image_id} is not saved as '{label_tag}', which is for annotators; "
                    "give label_tag original."
                )
            self._store(table, image_id, label_tag, mask, image, {PROPOSED: model})
        return image_id

    def radiograph(self, image_id: str) -> MetaTensor:
        """The image, (1, W, H) ``float32`` in [0, 1]; an ``InputError`` when it is not there or cannot be read."""
        path = self.get_image_uri(image_id)
        if not path:
            raise InputError(f"There is no image {image_id} in {self.name()}.")
        return cast(MetaTensor, read_radiograph(path))

    def final_label(self, image_id: str) -> tuple[np.ndarray, list[str]] | None:
        """The mask, (H, W) ``uint8``, and the classes that were annotated in it; None where there is no final label."""
        label = self._datastore.label(image_id, FINAL)
        if label is None:
            return None
        mask = read_mask(self.get_label_uri(image_id, FINAL), self.radiograph(image_id))
        return mask, label.info.get("classes") or drawn_classes(mask)

    def _mask(self, image_id: str, file: str, tag: str, segments: Sequence[Any] = ()) -> tuple[np.ndarray, MetaTensor]:
        """A mask that fits its image, and the image."""
        _check_name(tag, "tag")
        image = self.radiograph(image_id)
        return read_mask(file, image, segments), image

    def _store(
        self, table: Table, image_id: str, tag: str, mask: np.ndarray, image: MetaTensor, info: dict[str, Any]
    ) -> None:
        item = table.objects[image_id]
        ending = ".png" if item.image.ext.lower() in PICTURES else ".nii.gz"
        with tempfile.TemporaryDirectory() as folder:
            temporary = Path(folder) / f"mask{ending}"
            write_mask(temporary, mask, np.asarray(image.meta["original_affine"]), image.meta["filename_or_obj"])
            write_atomic(Path(table.label_path(tag)) / f"{image_id}{ending}", temporary.read_bytes())
        item.labels[tag] = _data(image_id, ending, info)

    def _keep(self, image_id: str, tag: str, label: DataModel) -> Path:
        """Copy a label to the earlier ones; returns its own file."""
        path = Path(self._datastore.label_path(tag)) / f"{image_id}{label.ext}"
        folder = self.folder / EARLIER / image_id
        folder.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            shutil.copy2(path, folder / f"{tag}_{time.time_ns()}{label.ext}")
        return path


def _data(name: str, ending: str, info: dict[str, Any]) -> DataModel:
    return DataModel(ext=ending, info={**info, "ts": int(time.time()), "name": f"{name}{ending}"})


def _present(name: str, known: DataModel | None, endings: list[str]) -> DataModel:
    """What is known of a file that has one of these endings."""
    return known if known is not None and known.ext in endings else _data(name, endings[0], {})


def _label(table: Table, image_id: str, tag: str) -> DataModel:
    label = table.label(image_id, tag)
    if label is None:
        raise LabelNotFoundException(f"{image_id} has no label '{tag}'.")
    return label


def _check_name(name: object, what: str) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InputError(f"The {what} '{name}' is no plain name; use letters, digits, dots, - and _.")
