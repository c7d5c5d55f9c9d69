"""Small functions that take something out of an engine, by name instead of a lambda in JSON."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ignite.engine import Engine
from monai.utils import CommonKeys

from doll_monai.data.image_files import refuse_twins
from doll_monai.utils.errors import InputError


def output_of(engine: Engine) -> Any:
    """The engine's current output; Ignite declares it as a number, MONAI puts dictionaries there."""
    return engine.state.output


def batch_of(engine: Engine) -> Any:
    """The engine's current batch."""
    return engine.state.batch


def image_meta(batch: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Metadata of each image of a decollated batch; MONAI's savers find the file name in it."""
    return [item[CommonKeys.IMAGE].meta for item in batch]


def predictions(output: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Prediction of each item of a decollated output, which may be empty."""
    return [item[CommonKeys.PRED] for item in output]


def check_output(engine: Engine, dataset_dir: str | os.PathLike[str], output_dir: str | os.PathLike[str]) -> None:
    """Raises: InputError: when results of a MONAI engine would have the same name, or lie among images and masks."""
    loader: Any = engine.data_loader  # type: ignore[attr-defined]  # of MONAI's engines
    images = [record[CommonKeys.IMAGE] for record in loader.dataset.data]
    refuse_twins(images)
    folders = set(map(os.path.dirname, images))
    taken = set(map(os.path.realpath, folders))
    for folder in folders:
        output = os.path.join(output_dir, os.path.relpath(folder, dataset_dir))
        if os.path.realpath(output) in taken:
            raise InputError(f"Results in {output} might replace images or their masks; give another output_dir.")


def every(n: int) -> Callable[[Engine, int], bool]:
    """Event filter that lets the first event and every n-th after it through: a database is slower than a step."""
    return lambda _engine, event: event % n == 1 or n == 1
