"""A terminal of one's own, to see what a program shows in it."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import TextIO


@contextmanager
def open_terminal(columns: int) -> Iterator[tuple[TextIO, list[str]]]:
    """A terminal to write to.

    Args:
        columns: its width.

    Yields:
        the terminal, and a list that has all that it got once the block is left.
    """
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    blocks: list[bytes] = []
    said: list[str] = []
    reader = Thread(target=_collect, args=(controller, blocks))
    reader.start()
    with os.fdopen(terminal, "w", encoding="utf-8") as file:
        yield file, said
    reader.join()
    os.close(controller)
    said.append(b"".join(blocks).decode())


def _collect(controller: int, blocks: list[bytes]) -> None:
    try:
        while block := os.read(controller, 4096):
            blocks.append(block)
    except OSError:  # how Linux says that nobody has the terminal open any more
        return
