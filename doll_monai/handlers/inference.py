"""What inference writes while an evaluator runs: masks, and which images could not be read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Engine, Events
from monai.utils import CommonKeys

from doll_monai.data.image_dataset import report_failures
from doll_monai.data.image_files import output_path
from doll_monai.data.label_files import mask_of_image
from doll_monai.handlers.engine import batch_of, check_output, output_of
from doll_monai.utils.atomic import write_atomic


class MaskWriter:
    """Writes ``IMAGE_POSTFIX.nii.gz`` for each image: ``pred`` on the grid and at the place of the image's file.

    MONAI's ``SaveImaged`` keeps two axes of an affine, which is singular in a coronal plane, as chest radiographs have;
    and it writes one file for ``a.png`` and ``a.jpg``.

    Args:
        output_dir: folder, in which the images' own folders are repeated.
        data_root_dir: folder of the images.
        postfix: what stands behind the image's name.

    Raises:
        InputError: before the first image, when two masks would have the same name or one would lie among the images;
            when a file cannot be written.
    """

    def __init__(self, output_dir: str | os.PathLike, data_root_dir: str | os.PathLike, postfix: str) -> None:
        self.output_dir, self.data_root_dir, self.postfix = output_dir, data_root_dir, postfix

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator whose post-processing brings predictions back to the images' geometry."""
        engine.add_event_handler(Events.STARTED, check_output, self.data_root_dir, self.output_dir)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        for record, result in zip(batch_of(engine), output_of(engine), strict=True):
            image = record[CommonKeys.IMAGE]
            path = image.meta["filename_or_obj"]
            file = output_path(path, self.data_root_dir, self.output_dir, f"_{self.postfix}.nii.gz")
            write_atomic(file, mask_of_image(np.asarray(result[CommonKeys.PRED].cpu()), image))


class UnreadableImages:
    """Takes images with an ``error``, see ``ImageDataset``, out of batch and output, and reports them at the end.

    Attach it before the handlers that write. Batch and output must be decollated. ``output_dir`` gets ``failures.csv``.

    Raises:
        InputError: at the end, when not one image could be read.
    """

    def __init__(self, output_dir: str | os.PathLike) -> None:
        self.output_dir = Path(output_dir)
        self._failures: dict[str, str] = {}
        self._count = 0

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self.clear)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.report)

    def clear(self) -> None:
        self._failures, self._count = {}, 0

    def __call__(self, engine: Engine) -> None:
        batch, output = batch_of(engine), output_of(engine)
        self._count += len(batch)
        for record in batch:
            if record["error"]:
                self._failures[record[CommonKeys.IMAGE].meta["filename_or_obj"]] = record["error"]
        state: Any = engine.state
        state.output = [item for record, item in zip(batch, output, strict=True) if not record["error"]]
        state.batch = [record for record in batch if not record["error"]]

    def report(self) -> None:
        """Write ``failures.csv`` and say how many there are."""
        report_failures(self.output_dir, self._failures, self._count)
