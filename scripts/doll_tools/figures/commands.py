"""Commands that figures need to be run first: printed, so that they can be run by hand."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Sequence

from doll_monai.utils.errors import InputError


def run_printed(command: Sequence[str]) -> None:
    """Print a command and run it; a leading ``python`` is the one that runs.

    Raises:
        InputError: when it fails.
    """
    line = shlex.join(command)
    print(line, flush=True)
    program = sys.executable if command[0] == "python" else command[0]
    if subprocess.run([program, *command[1:]], check=False).returncode:
        raise InputError(f"This command failed: {line}")
