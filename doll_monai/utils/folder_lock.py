"""A folder in which one process works at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from doll_monai.utils.errors import InputError

try:
    import fcntl
except ImportError:  # Windows: two processes in one folder are the user's care
    fcntl = None  # type: ignore[assignment]

_held: dict[str, IO[str]] = {}
"""Lock files of this process."""


def _let_go() -> None:
    """In a child, such as a worker of a data loader: it must not keep a folder locked that its parent left."""
    for file in _held.values():
        file.close()
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


def lock_folder(folder: str | os.PathLike[str], what: str) -> IO[str]:
    """Keep other processes that lock the folder too out of it, until the file that is returned is closed.

    A process that ends in any way lets go, and is never kept out by itself: what it began and could not end it may
    begin again. Where the file system knows no locks, nobody is kept out.

    Args:
        folder: made if need be; it gets a file ``.WHAT.lock``.
        what: what goes on there: ``training``, ``pipeline``.

    Raises:
        InputError: when another process has the lock, or the folder cannot be written.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        file = open(Path(folder) / f".{what}.lock", "w")  # noqa: SIM115 - it stays open
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror}.") from error
    try:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        mine = _held.get(os.path.abspath(file.name))
        if mine is not None and not mine.closed:
            return mine
        raise InputError(f"Another {what} is at work in {folder}; wait for it or give another folder.") from error
    except OSError:
        pass
    _held[os.path.abspath(file.name)] = file
    return file


@contextmanager
def locked_folder(folder: str | os.PathLike[str], what: str) -> Iterator[None]:
    """``lock_folder`` for a while."""
    with lock_folder(folder, what):
        yield
