"""Label files on disk: whole or absent, never of mixed provenance, and resumable chunk by chunk."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import monai
import numpy as np
import pandas as pd
import torch

import doll_monai
from doll_monai.data.datalist import write_datalist, write_whole
from doll_monai.data.label_files import write_label
from doll_monai.errors import InputError
from doll_monai.findings import CHANNEL_DEF

COLUMNS = ("image", "observation", "probability", "completeness_error", "n_steps", "foreground_share")
"""Columns of ``labels.csv``."""


class LabelStore:
    """A folder of labels, their table ``labels.csv``, ``dataset.json`` and ``provenance.json``.

    Work is cut into chunks of the datalist, the same ones whatever is already done and however many processes share
    it; so a resumed or a sharded run gives the same bytes. A chunk is done when its rows are written.

    Args:
        output_dir: the folder.
        dataset_dir: folder of the films; label files mirror it below ``output_dir/labels``.
        sections: section name to records (``image`` absolute), as ``load_datalist`` gives them.
        chunk_size: records in a chunk; must be the batch size.
        provenance: what the labels depend on: settings and checkpoint hash. Anything JSON has.
        rank: this process's number.
        world_size: how many processes share the work.
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

    def claim(self) -> None:
        """Write ``provenance.json``, or compare with the one that is there.

        Raises:
            InputError: when the folder holds labels that were made otherwise, or two films have one label file.
        """
        first: dict[str, str] = {}
        for chunk in self.chunks:
            for record in chunk:
                label = self.label_path(record["image"])
                image = first.setdefault(label, record["image"])
                if image != record["image"]:
                    raise InputError(f"{image} and {record['image']} have the same label file, {label}; rename one.")
        path = self.output_dir / "provenance.json"
        provenance = json.loads(json.dumps(self.provenance, default=str))
        if not path.is_file():
            write_whole(path, (json.dumps(provenance, indent=2, sort_keys=True) + "\n").encode())
            return
        there = json.loads(path.read_text())
        changed = sorted(key for key in {*there, *provenance} if there.get(key) != provenance.get(key))
        if changed:
            raise InputError(
                f"The labels in {self.output_dir} were made with another {', '.join(changed)}; "
                "give a new output_dir or delete the old labels."
            )

    def pending(self) -> list[dict[str, Any]]:
        """Records of this process's chunks that are not done, each with its chunk's number as ``chunk``."""
        return [
            {**record, "chunk": number}
            for number, chunk in enumerate(self.chunks)
            if number % self.world_size == self.rank and not self._rows_path(number).is_file()
            for record in chunk
        ]

    def relative(self, image: str | os.PathLike) -> str:
        """An image's path below ``dataset_dir``, with forward slashes."""
        return Path(os.path.relpath(image, self.dataset_dir)).as_posix()

    def label_path(self, image: str | os.PathLike) -> str:
        """An image's label below ``output_dir``."""
        return f"labels/{Path(self.relative(image)).with_suffix('').as_posix()}.nii.gz"

    def write(self, image: str | os.PathLike, label: torch.Tensor, affine: Any) -> None:
        """Write one label, (T, W, H)."""
        write_label(self.output_dir / self.label_path(image), label.cpu().numpy(), np.asarray(affine))

    def write_rows(self, chunk: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write the table rows of a chunk, which marks it as done."""
        text = pd.DataFrame(list(rows), columns=list(COLUMNS)).to_csv(index=False)
        write_whole(self._rows_path(chunk), text.encode())

    def finish(self) -> None:
        """When all chunks are done, write ``labels.csv`` and ``dataset.json``."""
        parts = [self._rows_path(number) for number in range(len(self.chunks))]
        if not all(part.is_file() for part in parts):
            return
        lines = [part.read_text().splitlines()[1:] for part in parts]
        table = "\n".join([",".join(COLUMNS), *(line for part in lines for line in part)]) + "\n"
        write_whole(self.output_dir / "labels.csv", table.encode())
        sections = {
            name: [{"image": self.relative(r["image"]), "label": self.label_path(r["image"])} for r in records]
            for name, records in self.sections.items()
        }
        write_datalist(self.output_dir / "dataset.json", sections, labels=CHANNEL_DEF)

    def _datalist_hash(self) -> str:
        """Hash of which films with which labels are in which section."""
        content = [
            (name, [(self.relative(record["image"]), record.get("label")) for record in records])
            for name, records in self.sections.items()
        ]
        return hashlib.sha256(json.dumps(content, default=str).encode()).hexdigest()

    def _rows_path(self, chunk: int) -> Path:
        return self.output_dir / "rows" / f"{chunk:06d}.csv"
