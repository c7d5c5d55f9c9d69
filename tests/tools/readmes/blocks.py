"""The command blocks of the project's READMEs."""

from __future__ import annotations

import re
from pathlib import Path

STARTS = ("python", ".venv/bin/", "torchrun", "make", ". .venv")
"""Beginnings of a block that is typed into a shell."""


def indented_blocks(text: str) -> list[str]:
    """Indented blocks of a page in Markdown, without the indentation."""
    blocks: list[list[str]] = []
    inside = False
    for line in [*text.splitlines(), ""]:
        code = line.startswith("    ")
        if code and not inside:
            blocks.append([])
        if code or (inside and not line.strip()):
            blocks[-1].append(line[4:])
        inside = code or (inside and not line.strip())
    return ["\n".join(block).strip() for block in blocks]


def command_blocks(page: Path) -> list[str]:
    """Blocks of shell commands, each command on one line."""
    joined = [re.sub(r"\\\n\s*", "", block) for block in indented_blocks(page.read_text())]
    return [block for block in joined if block.startswith(STARTS) or re.match(r"[A-Z]=", block)]


def other_blocks(page: Path) -> list[str]:
    """Blocks that are no commands: Python, or trees of folders."""
    commands = set(command_blocks(page))
    return [block for block in indented_blocks(page.read_text()) if re.sub(r"\\\n\s*", "", block) not in commands]
