"""Files that are whole or absent: written under a temporary name, then renamed."""

from __future__ import annotations

import errno
import os
import platform
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from doll_monai.utils.errors import InputError

STALE_AFTER = 3600.0
"""Seconds after which a temporary file is left over, whoever wrote it: one lives for as long as a write takes."""

_TEMPORARY = re.compile(r"^\..+\.(?P<pid>\d+)-\d+@(?P<host>.+)\.tmp$")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_HARD_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS)


def write_atomic(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file under a temporary name in its own folder, then rename it: a file that exists is whole.

    Raises:
        InputError: when the folder or the file cannot be written.
    """
    _write(Path(path), content, os.replace)


def create_whole(path: str | os.PathLike[str], content: bytes) -> bool:
    """Write a file unless it is there already; of several processes that try at once exactly one succeeds.

    Returns:
        whether this process wrote it.

    Raises:
        InputError: when the folder or the file cannot be written.
    """
    created: bool = _write(Path(path), content, _link)
    return created


def _write(path: Path, content: bytes, move: Callable[[Path, Path], Any]) -> Any:
    """Write under a temporary name, then move that to the path; returns what the move returns."""
    temporary = _temporary(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(content)
            return move(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise _explained(path, error) from error


def remove_leftovers(folder: str | os.PathLike[str]) -> None:
    """Delete temporary files that processes of this host left in a folder when they were killed.

    A file of another host is deleted when it is older than ``STALE_AFTER``: its process cannot be asked for.
    """
    try:
        entries = [entry for entry in os.scandir(folder) if entry.name.endswith(".tmp")]
        for entry in entries:
            found = _TEMPORARY.match(entry.name)
            if found and (_dead(int(found["pid"]), found["host"]) or _old(entry)):
                Path(entry.path).unlink(missing_ok=True)
    except FileNotFoundError:
        return
    except OSError as error:
        raise _explained(Path(folder), error) from error


def _temporary(path: Path) -> Path:
    """A name that no other thread of any process on any host uses."""
    return path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}@{platform.node()}.tmp")


def _link(temporary: Path, path: Path) -> bool:
    """Give a file its name; False when the name is taken."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        try:
            with open(path, "xb") as file:
                file.write(temporary.read_bytes())
        except FileExistsError:
            return False
    return True


def _dead(pid: int, host: str) -> bool:
    """Whether a process of this host is no more. This process itself is asked before it has written anything."""
    if host != platform.node():
        return False
    if pid == os.getpid():
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _old(entry: os.DirEntry[str]) -> bool:
    return time.time() - entry.stat().st_mtime > STALE_AFTER


def _explained(path: Path, error: OSError) -> InputError:
    advice = "; free some space, then the same command continues" if error.errno in _FULL else ""
    return InputError(f"{path} cannot be written: {error.strerror}{advice}.")
