"""Label files on disk: whole or absent, never of mixed provenance, and resumable chunk by chunk."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import monai
import numpy as np
import torch

import doll_monai
from doll_monai.data.datalist import write_datalist
from doll_monai.data.label_files import write_label
from doll_monai.data.label_maps import kept_images, map_sheet
from doll_monai.data.label_rows import COLUMNS, FAILURE_COLUMNS, read_chunk, write_chunk, write_table
from doll_monai.data.provenance import claim_folder
from doll_monai.findings import CHANNEL_DEF
from doll_monai.utils.atomic import remove_leftovers, write_atomic
from doll_monai.utils.background import BackgroundTasks
from doll_monai.utils.errors import InputError, sentence_of

logger = logging.getLogger(__name__)


class LabelStore:
    """A folder of labels, their table ``labels.csv``, ``dataset.json`` and ``provenance.json``.

    Work is cut into chunks of the datalist, the same ones whatever is already done and however many processes share
    it; so a resumed or a sharded run gives the same bytes. A chunk is done when its rows are written, which happens
    after its label files. Images that could not be read are listed in ``failures.csv``; their chunk is done again when
    one of them can be read.

    Args:
        output_dir: the folder.
        dataset_dir: folder of the images; label files mirror it below ``output_dir/labels``.
        sections: section name to records (``image`` absolute), as ``load_datalist`` gives them.
        chunk_size: records in a chunk; must be the batch size.
        provenance: what the labels depend on: settings and checkpoint hash. Anything JSON has.
        rank: this process's number.
        world_size: how many processes share the work.
        on_error: with ``raise``, a chunk with an image that could not be read is never done.
        kept_maps: number of images whose members' maps are kept below ``output_dir/maps``, small and to be looked at:
            those with the smallest hashes of their names.
        transform: raises ``InputError`` for an image that cannot be read; one that could not is tried again when it
            can.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike,
        dataset_dir: str | os.PathLike,
        sections: Mapping[str, Sequence[Mapping[str, Any]]],
        chunk_size: int,
        provenance: Mapping[str, Any],
        rank: int = 0,
        world_size: int = 1,
        on_error: str = "skip",
        kept_maps: int = 0,
        transform: Callable[[Mapping[str, Any]], Any] | None = None,
    ) -> None:
        self.output_dir = Path(output_dir)
        self.dataset_dir = Path(dataset_dir)
        self.sections = sections
        records = [record for section in sections.values() for record in section]
        self.chunks = [records[start : start + chunk_size] for start in range(0, len(records), chunk_size)]
        self.provenance = {
            "versions": {module.__name__: module.__version__ for module in (doll_monai, monai, torch)},
            "chunk_size": chunk_size,
            "datalist_sha256": self._datalist_hash(),
            **provenance,
        }
        self.rank = rank
        self.world_size = world_size
        self.on_error = on_error
        self.kept_maps = kept_maps
        self.transform = transform
        self._claimed = False
        self._tasks = BackgroundTasks()

    def claim(self) -> None:
        """Write ``provenance.json``, or compare with the one that is there; delete what a killed process left over.

        Raises:
            InputError: when the folder holds labels that were made otherwise, or two images have one label file.
        """
        if self._claimed:
            return
        first: dict[str, str] = {}
        for chunk in self.chunks:
            for record in chunk:
                label = self.label_path(record["image"])
                image = first.setdefault(label, record["image"])
                if image != record["image"]:
                    raise InputError(f"{image} and {record['image']} have the same label file, {label}; rename one.")
        claim_folder(self._provenance_path, self.provenance)
        folders = {(self.output_dir / self.label_path(record["image"])).parent for record in self.pending()}
        for folder in {self.output_dir, self.output_dir / "rows", *folders}:
            remove_leftovers(folder)
        self._claimed = True

    @cached_property
    def with_maps(self) -> frozenset[str]:
        """Relative images whose maps are kept, the same for every process."""
        if self.kept_maps == 0:
            return frozenset()
        return kept_images(
            (self.relative(record["image"]) for chunk in self.chunks for record in chunk), self.kept_maps
        )

    def pending(self) -> list[dict[str, Any]]:
        """Records of this process's chunks that are not done, each with its chunk's number as ``chunk``."""
        return [
            {**record, "chunk": number}
            for number, chunk in enumerate(self.chunks)
            if number % self.world_size == self.rank and not self._done(number)
            for record in chunk
        ]

    def _done(self, number: int) -> bool:
        """Whether a chunk has its rows and label files, and no image that could be read by now."""
        if not self._rows_path(number).is_file():
            return False
        _, failures = read_chunk(self._rows_path(number))
        if failures and self.on_error == "raise":
            return False
        return all(
            not self._readable(record)
            if self.relative(record["image"]) in failures
            else (self.output_dir / self.label_path(record["image"])).is_file()
            for record in self.chunks[number]
        )

    def _readable(self, record: Mapping[str, Any]) -> bool:
        """Whether an image that could not be read can be read now."""
        if self.transform is None:
            return False
        try:
            self.transform(record)
        except Exception as error:
            if sentence_of(error) is None:
                raise
            return False
        return True

    def relative(self, image: str | os.PathLike) -> str:
        """An image's path below ``dataset_dir``, with forward slashes."""
        return Path(os.path.relpath(image, self.dataset_dir)).as_posix()

    def label_path(self, image: str | os.PathLike) -> str:
        """An image's label below ``output_dir``."""
        return f"labels/{Path(self.relative(image)).with_suffix('').as_posix()}.nii.gz"

    def map_path(self, image: str | os.PathLike) -> str:
        """An image's maps below ``output_dir``."""
        return f"maps/{Path(self.relative(image)).with_suffix('').as_posix()}.png"

    def write(
        self,
        chunk: int,
        labels: Mapping[str, tuple[np.ndarray, np.ndarray]],
        rows: Sequence[Mapping[str, Any]],
        failures: Mapping[str, str],
        maps: Mapping[str, tuple[np.ndarray, Sequence[str]]] | None = None,
    ) -> None:
        """Write a chunk in the background: its label files and maps, then its table rows, which mark it as done.

        Args:
            chunk: its number.
            labels: image to label, (T, W, H) ``uint8``, and affine, (4, 4).
            rows: rows of ``labels.csv``.
            failures: relative image to the reason why it has no label.
            maps: image to the members' maps, (K, T, W, H), and the T observations that they explain.

        Raises:
            InputError: when an earlier chunk could not be written.
        """

        def work() -> None:
            if not self._provenance_path.is_file():
                raise InputError(
                    f"{self._provenance_path} has vanished while labels were written; when {self.output_dir} is back, "
                    "the same command continues."
                )
            for image, (label, affine) in labels.items():
                write_label(self.output_dir / self.label_path(image), label, affine)
            for image, (values, observations) in (maps or {}).items():
                write_atomic(self.output_dir / self.map_path(image), map_sheet(values, observations))
            write_chunk(self._rows_path(chunk), rows, failures)

        self._tasks.submit(work)

    def wait(self) -> None:
        """Return when all that was handed over is written.

        Raises:
            InputError: when something could not be written.
        """
        self._tasks.wait()

    def finish(self) -> None:
        """When all chunks are done, by whichever process, write ``labels.csv``, ``failures.csv``, ``dataset.json``.

        The last thing that a run does, even where nothing was left to compute.

        Raises:
            InputError: when a chunk could not be written, or none of the images could be read.
        """
        self.claim()
        if not self._tasks.begun:
            logger.info("All labels are there already; nothing to compute.")
        self.wait()
        parts = [self._rows_path(number) for number in range(len(self.chunks))]
        if not all(part.is_file() for part in parts):
            return
        contents = [read_chunk(part) for part in parts]
        write_table(self.output_dir / "labels.csv", COLUMNS, [row for rows, _ in contents for row in rows])
        failures = {image: reason for _, failed in contents for image, reason in failed.items()}
        self._report(failures)
        sections = {
            name: [
                {"image": self.relative(record["image"]), "label": self.label_path(record["image"])}
                for record in records
                if self.relative(record["image"]) not in failures
            ]
            for name, records in self.sections.items()
        }
        if not any(sections.values()):
            raise InputError(
                f"None of the images could be read, so there is no label; {self.output_dir / 'failures.csv'} has why."
            )
        write_datalist(self.output_dir / "dataset.json", sections, labels=CHANNEL_DEF)

    def _report(self, failures: Mapping[str, str]) -> None:
        path = self.output_dir / "failures.csv"
        if not failures:
            path.unlink(missing_ok=True)
            return
        write_table(path, FAILURE_COLUMNS, failures.items())
        count = sum(len(chunk) for chunk in self.chunks)
        logger.warning(f"{len(failures):,} of {count:,} images could not be read and have no label; see {path}.")

    def _datalist_hash(self) -> str:
        """Hash of which images with which labels are in which section."""
        content = [
            (name, [(self.relative(record["image"]), record.get("label")) for record in records])
            for name, records in self.sections.items()
        ]
        return hashlib.sha256(json.dumps(content, default=str).encode()).hexdigest()

    def _rows_path(self, chunk: int) -> Path:
        return self.output_dir / "rows" / f"{chunk:06d}.csv"

    @property
    def _provenance_path(self) -> Path:
        return self.output_dir / "provenance.json"
