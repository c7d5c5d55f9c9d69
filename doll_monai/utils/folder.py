"""A folder of results: one process works in it at a time, and its files were all made alike."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import AcquireReturnProxy, FileLock, Timeout

from doll_monai.utils.atomic import create_if_absent
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


def claim_folder(path: Path, provenance: Mapping[str, Any], files: str = "labels") -> None:
    """Write what the files beside ``path`` depend on, or compare with what is there; of several processes one writes.

    ``files`` is what they are, for the errors: an ``InputError`` when they were made otherwise, or the record is broken
    or cannot be written.
    """
    record = json.loads(json.dumps(provenance, default=str))
    if create_if_absent(path, (json.dumps(record, indent=2, sort_keys=True) + "\n").encode()):
        return
    remedy = f"give a new output_dir or delete the old {files}."
    try:
        there = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read, so nobody knows how its {files} were made; {remedy}") from error
    changed = sorted(key for key in {*there, *record} if there.get(key) != record.get(key))
    if changed:
        raise InputError(f"The {files} in {path.parent} were made with another {', '.join(changed)}; {remedy}")
