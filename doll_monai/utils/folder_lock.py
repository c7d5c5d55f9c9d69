"""A folder in which one process works at a time."""

from __future__ import annotations

import os
from pathlib import Path

from filelock import AcquireReturnProxy, FileLock, Timeout

from doll_monai.utils.errors import InputError


def lock_folder(folder: str | os.PathLike[str], what: str) -> AcquireReturnProxy:
    """Keep other processes out of a folder for as long as what is returned is kept, or in a ``with`` statement.

    The folder is made if need be, and gets a file ``.WHAT.lock``. A process that ends in any way lets go, and is never
    kept out by itself. An ``InputError`` when another process has the lock, or the folder cannot be written.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        path = Path(folder).resolve() / f".{what}.lock"
        return FileLock(path, blocking=False, thread_local=False, is_singleton=True).acquire()
    except Timeout as error:
        raise InputError(f"Another {what} is at work in {folder}; wait for it or give another folder.") from error
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror}.") from error
