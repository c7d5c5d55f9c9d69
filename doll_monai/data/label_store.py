"""The folder of labels: never of mixed provenance, and resumable chunk by chunk."""

from __future__ import annotations

import csv
import hashlib
import json
import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import monai
import numpy as np
import torch

import doll_monai
from doll_monai.data.datalist import csv_file, write_datalist
from doll_monai.data.image_dataset import report_failures
from doll_monai.data.image_files import refuse_twins, stem
from doll_monai.data.label_files import write_label
from doll_monai.data.label_maps import kept_images, map_sheet
from doll_monai.findings import CHANNEL_DEF
from doll_monai.utils.atomic import remove_leftovers, write_atomic
from doll_monai.utils.errors import InputError, sentence_of
from doll_monai.utils.folder import claim_folder

logger = logging.getLogger(__name__)

COLUMNS = ("image", "observation", "probability", "completeness_error", "n_steps", "foreground_share", "agreement")
"""Columns of ``labels.csv``."""
WAITING = 4
"""Chunks that may wait to be written; bounds the memory that they hold."""


class LabelStore:
    """A folder of labels, their table ``labels.csv``, ``dataset.json`` and ``provenance.json``.

    Work is cut into chunks of the datalist, the same ones whatever is already done and however many processes share
    it; so a resumed or a sharded run gives the same bytes. A chunk is done when its rows are written, which happens
    after its label files. Images that could not be read are listed in ``failures.csv``; their chunk is done again when
    one of them can be read. A second thread writes; what it was given is written even after an interrupt.

    Args:
        dataset_dir: folder of the images; label files mirror it below ``output_dir/labels``.
        sections: section name to records, as ``load_sections`` gives them.
        chunk_size: records in a chunk; must be the batch size.
        provenance: what the labels depend on: settings and checkpoint hash. Anything JSON has.
        rank, world_size: this process's number, and how many share the work.
        on_error: with ``raise``, a chunk with an image that could not be read is never done.
        kept_maps: number of images whose members' maps are kept below ``output_dir/maps``, small and to be looked at:
            those with the smallest hashes of their names.
        transform: raises ``InputError`` for a record whose image cannot be read; None takes such images for unreadable
            for good.
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
        self._provenance_path = self.output_dir / "provenance.json"
        self.dataset_dir = Path(dataset_dir)
        self.sections = sections
        records = [record for section in sections.values() for record in section]
        self.chunks = [records[start : start + chunk_size] for start in range(0, len(records), chunk_size)]
        listed = [
            (name, [(self.relative(record["image"]), record.get("label")) for record in section])
            for name, section in sections.items()
        ]
        self.provenance = {
            "versions": {module.__name__: module.__version__ for module in (doll_monai, monai, torch)},
            "chunk_size": chunk_size,
            "datalist_sha256": hashlib.sha256(json.dumps(listed, default=str).encode()).hexdigest(),
            **provenance,
        }
        self.rank, self.world_size = rank, world_size
        self.on_error, self.kept_maps, self.transform = on_error, kept_maps, transform
        self._begun = False
        self._writer = ThreadPoolExecutor(1, "writer")  # its thread starts after a DataLoader has forked its workers
        self._writing: deque[Future[None]] = deque()

    def claim(self) -> None:
        """Write ``provenance.json``, or compare with the one that is there; delete what a killed process left over.

        An ``InputError`` when the folder holds labels that were made otherwise, or two images have one label file.
        """
        refuse_twins(self._images())
        claim_folder(self._provenance_path, self.provenance)
        images = [record["image"] for record in self.pending()]
        paths = [path(image) for image in images for path in (self.label_path, self.map_path)]
        folders = {(self.output_dir / path).parent for path in paths}
        for folder in {self.output_dir, self.output_dir / "rows", *folders}:
            remove_leftovers(folder)

    @cached_property
    def with_maps(self) -> frozenset[str]:
        """Relative images whose maps are kept, the same for every process."""
        return kept_images(map(self.relative, self._images()), self.kept_maps)

    def pending(self) -> list[dict[str, Any]]:
        """Records of this process's chunks that are not done, each with its chunk's number as ``chunk``."""
        return [
            {**record, "chunk": number}
            for number, chunk in enumerate(self.chunks)
            if number % self.world_size == self.rank and not self._done(number)
            for record in chunk
        ]

    def relative(self, image: str | os.PathLike) -> str:
        """An image's path below ``dataset_dir``, with forward slashes."""
        return Path(os.path.relpath(image, self.dataset_dir)).as_posix()

    def label_path(self, image: str | os.PathLike) -> str:
        """An image's label below ``output_dir``."""
        return f"labels/{stem(self.relative(image))}.nii.gz"

    def map_path(self, image: str | os.PathLike) -> str:
        """An image's maps below ``output_dir``."""
        return f"maps/{stem(self.relative(image))}.png"

    def write(
        self,
        chunk: int,
        labels: Mapping[str, tuple[np.ndarray, np.ndarray]],
        rows: Sequence[Mapping[str, Any]],
        failures: Mapping[str, str],
        maps: Mapping[str, tuple[np.ndarray, Sequence[str]]] | None = None,
    ) -> None:
        """Write a chunk in the background: its label files and maps, then its table rows, which mark it as done.

        An ``InputError`` when an earlier chunk could not be written.

        Args:
            chunk: its number.
            labels: image to label, (T, W, H) ``uint8``, and affine, (4, 4).
            rows: values by ``COLUMNS``; None is blank.
            failures: relative image to the reason why it has no label.
            maps: image to the members' maps, (K, T, W, H), and the T observations that they explain.
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
            lines = [[*(row[column] for column in COLUMNS), None] for row in rows]
            lines += [[image, *[None] * (len(COLUMNS) - 1), reason] for image, reason in failures.items()]
            write_atomic(self._rows_path(chunk), csv_file((*COLUMNS, "reason"), lines))

        self._begun = True
        while self._writing and (len(self._writing) > WAITING or self._writing[0].done()):
            self._writing.popleft().result()
        self._writing.append(self._writer.submit(work))

    def wait(self) -> None:
        """Return when all that was handed over is written; an ``InputError`` when something could not be."""
        while self._writing:
            self._writing.popleft().result()

    def finish(self) -> None:
        """When all chunks are done, by whichever process, write ``labels.csv``, ``failures.csv``, ``dataset.json``.

        The last thing that a run does, even where nothing was left to compute. An ``InputError`` when a chunk could not
        be written, or none of the images could be read.
        """
        if not self._begun:
            self.claim()
            logger.info("All labels are there already; nothing to compute.")
        self.wait()
        parts = [self._rows_path(number) for number in range(len(self.chunks))]
        if not all(part.is_file() for part in parts):
            return
        contents = [read_chunk(part) for part in parts]
        write_atomic(self.output_dir / "labels.csv", csv_file(COLUMNS, [row for rows, _ in contents for row in rows]))
        failures = {image: reason for _, failed in contents for image, reason in failed.items()}
        report_failures(self.output_dir, failures, sum(map(len, self.chunks)))
        sections = {
            name: [
                {"image": image, "label": self.label_path(record["image"])}
                for record in records
                if (image := self.relative(record["image"])) not in failures
            ]
            for name, records in self.sections.items()
        }
        write_datalist(self.output_dir / "dataset.json", sections, labels=CHANNEL_DEF)

    def _done(self, number: int) -> bool:
        """Whether a chunk has its rows and label files, and no image that failed and can be read by now."""
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
        try:
            return self.transform is not None and self.transform(record) is not None
        except Exception as error:
            if sentence_of(error) is None:
                raise
            return False

    def _images(self) -> Iterable[str]:
        return (record["image"] for chunk in self.chunks for record in chunk)

    def _rows_path(self, chunk: int) -> Path:
        return self.output_dir / "rows" / f"{chunk:06d}.csv"


def read_chunk(path: Path) -> tuple[list[list[str]], dict[str, str]]:
    """A chunk's rows, as text in the order of ``COLUMNS``, and by image the reason why it has no label."""
    with open(path, encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    rows = [[line.get(column) or "" for column in COLUMNS] for line in lines if not line.get("reason")]
    return rows, {line["image"]: line["reason"] for line in lines if line.get("reason")}
