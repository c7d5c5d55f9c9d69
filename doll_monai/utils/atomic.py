"""Atomic writes: a file that exists is complete."""

from __future__ import annotations

import errno
import os
import platform
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from doll_monai.utils.errors import InputError

STALE_AFTER = 3600.0
"""Seconds after which a temporary file is left over, whoever wrote it."""
KEPT = 30
"""Characters of a file's name in its temporary name, which must not be longer than 255 bytes."""
_TEMPORARY = re.compile(r"^\..+\.(?P<pid>\d+)-\d+@(?P<host>.+)\.tmp$")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def write_atomic(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file under a temporary name in its own folder, made if need be, then rename it; ``InputError`` if not."""
    with _temporary(Path(path), content) as temporary:
        os.replace(temporary, path)


def create_if_absent(path: str | os.PathLike[str], content: bytes) -> bool:
    """As ``write_atomic``, unless the file exists; of several processes at once exactly one succeeds and gets True."""
    with _temporary(Path(path), content) as temporary:
        try:
            os.link(temporary, path)
        except OSError:  # it exists, or the file system has no hard links
            try:
                with open(path, "xb") as file:
                    file.write(content)
            except FileExistsError:
                return False
    return True


def remove_leftovers(folder: str | os.PathLike[str]) -> None:
    """Delete the temporary files of killed processes of this host, and of any host those older than an hour."""
    try:
        for entry in os.scandir(folder):
            found = _TEMPORARY.match(entry.name)
            if found and (_is_dead(**found.groupdict()) or time.time() - entry.stat().st_mtime > STALE_AFTER):
                Path(entry.path).unlink(missing_ok=True)
    except FileNotFoundError:
        return
    except OSError as error:
        raise _explained(Path(folder), error) from error


@contextmanager
def _temporary(path: Path, content: bytes) -> Iterator[Path]:
    """A file with the content beside a path, of a name that no thread of any process on any host shares."""
    temporary = path.with_name(f".{path.name[:KEPT]}.{os.getpid()}-{threading.get_ident()}@{platform.node()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise _explained(path, error) from error


def _is_dead(pid: str, host: str) -> bool:
    """Whether a process of this host is no more; this one cleans up before it writes."""
    if host != platform.node() or os.name == "nt":
        return False
    try:
        os.kill(int(pid), 0)
    except OSError as error:
        return isinstance(error, ProcessLookupError)
    return int(pid) == os.getpid()


def _explained(path: Path, error: OSError) -> InputError:
    advice = "; free some space, then the same command continues" if error.errno in _FULL else ""
    return InputError(f"{path} cannot be written: {error.strerror}{advice}.")
