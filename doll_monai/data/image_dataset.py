"""Images of a long run, of which some cannot be read."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import Dataset
from monai.transforms import Compose

from doll_monai.data.datalist import csv_file
from doll_monai.data.geometry import with_meta
from doll_monai.utils.atomic import write_atomic
from doll_monai.utils.errors import InputError, explained, sentence_of

logger = logging.getLogger(__name__)

ON_ERROR = ("skip", "raise")


class ImageDataset(Dataset):
    """Transformed records, each with the reason why its image could not be read as ``error``, "" where it could.

    A black image takes the place of one that cannot be read. It goes through the same transforms and has the same
    targets, so the batch is computed as if the image were good, and the results of the others have the same bytes.

    The first transform reads the ``image``, and raises ``InputError`` when it cannot.

    Raises:
        InputError: for an ``on_error`` that is neither ``skip`` nor ``raise``; with ``raise``, for a bad image; when
            ``dataset_dir`` is gone or empty, as a file system is that vanished.
    """

    @explained
    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        transform: Compose,
        dataset_dir: str | os.PathLike[str],
        on_error: str = "skip",
    ) -> None:
        if on_error not in ON_ERROR:
            raise InputError(f"on_error must be one of {', '.join(ON_ERROR)}, not '{on_error}'.")
        super().__init__(data, transform)
        self.dataset_dir = Path(dataset_dir)
        self.on_error = on_error

    def _transform(self, index: int) -> dict[str, Any]:
        record = self.data[index]
        try:
            return {**self.transform(record), "error": ""}
        except Exception as error:
            reason = sentence_of(error)
            if reason is None or self.on_error == "raise":
                raise
            if not self.dataset_dir.is_dir() or not any(self.dataset_dir.iterdir()):
                raise InputError(
                    f"The folder {self.dataset_dir} is gone or empty; when it is back, the same command continues."
                ) from error
        logger.warning(f"Skipped: {reason}")
        black = with_meta(np.zeros((1, 2, 2), np.float32), np.eye(4), record["image"])
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Divide by zero")
            return {**self.transform({**record, "image": black}, start=1), "error": reason}


def report_failures(folder: Path, failures: Mapping[str, str], count: int) -> None:
    """Say how many of ``count`` images could not be read, and write ``failures.csv``: image and reason.

    Raises:
        InputError: when not one could be read.
    """
    path = folder / "failures.csv"
    path.unlink(missing_ok=True)
    if failures:
        write_atomic(path, csv_file(("image", "reason"), failures.items()))
        first = f"first {next(iter(failures))}; see {path}"
        logger.warning(f"{len(failures):,} of {count:,} images could not be read and have no result, {first}.")
    if len(failures) == count:
        reason = next(iter(failures.values()), "")
        raise InputError(f"None of the images could be read; {path} has why. {reason}".strip())
