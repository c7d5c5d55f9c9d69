"""Programs run as from a shell, but forked from one process that has imported what they need."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
from pathlib import Path

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["monai.bundle", "doll_monai.bundle", "doll_tools.cli", "mlflow", "onnx"])


def run_module(module: str, arguments: list[str], folder: Path) -> tuple[int | None, str]:
    """Run ``python -m module arguments`` in a folder.

    Returns:
        the exit code, and what the program printed.
    """
    log = folder / "said.log"
    process = _SERVER.Process(target=_run, args=(module, arguments, folder, log))
    process.start()
    process.join()
    return process.exitcode, log.read_text(errors="replace")


def _run(module: str, arguments: list[str], folder: Path, log: Path) -> None:
    os.chdir(folder)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
