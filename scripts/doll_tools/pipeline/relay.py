"""What a stage says on standard error, copied to the terminal as it is and to its log in whole lines."""

from __future__ import annotations

import re
import time
from typing import IO

from doll_monai.utils.progress import LINE_SECONDS

_PIECE = re.compile(rb"([^\r\n]*)(\r\n|\n|\r(?=.))", re.DOTALL)
"""Text and what ends it; a carriage return at the very end waits for what follows."""
_BAR = re.compile(rb" \|(?:[ #0-9]|\xe2\x96[\x88-\x8f])*\| *")
"""A drawn bar: blocks, or digits and # where a terminal has no blocks. What comes behind it is somebody else's."""


def relay(source: IO[bytes], log: IO[bytes], terminal: IO[bytes]) -> str:
    """Copy until the end.

    The states of a moving bar are kept in the log every 20 s, and the last one; all other lines are kept.

    Args:
        source: standard error of a program, buffered.
        log: file for whole lines.
        terminal: gets the same bytes at once.

    Returns:
        the last line that was said.
    """
    last, rest, kept = b"", b"", -LINE_SECONDS
    while block := source.read1(4096):  # type: ignore[attr-defined]
        terminal.write(block)
        terminal.flush()
        rest += block
        end = 0
        for piece in _PIECE.finditer(rest):
            text, is_line, end = _BAR.sub(b"\n", piece[1]).rstrip(), piece[2] != b"\r", piece.end()
            last = _last_line(text) or last
            if is_line or (text and time.monotonic() - kept >= LINE_SECONDS):
                log.write(text + b"\n")
                log.flush()
                kept = kept if is_line else time.monotonic()
        rest = rest[end:]
    text = _BAR.sub(b"\n", rest.strip(b"\r")).rstrip()
    if text:
        log.write(text + b"\n")
    return (_last_line(text) or last).decode(errors="replace")


def _last_line(text: bytes) -> bytes:
    return text.rstrip().rpartition(b"\n")[2].strip()
