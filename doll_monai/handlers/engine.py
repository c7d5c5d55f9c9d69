"""Small functions that take something out of an engine, by name instead of a lambda in JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ignite.engine import Engine
from monai.utils import CommonKeys

from doll_monai.data.image_files import refuse_twins


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


def refuse_same_names(engine: Engine) -> None:
    """Raises: InputError: when two images of a MONAI engine's data set would have the same name in the output."""
    loader: Any = engine.data_loader  # type: ignore[attr-defined]  # of MONAI's engines
    refuse_twins(record[CommonKeys.IMAGE] for record in loader.dataset.data)


def every(n: int) -> Callable[[Engine, int], bool]:
    """Event filter that lets the first event and every n-th after it through: a database is slower than a step."""
    return lambda _engine, event: event % n == 1 or n == 1
