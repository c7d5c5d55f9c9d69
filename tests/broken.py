"""A small world of finished results, and commands that run in it as they do in a shell."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import runpy
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import monai.bundle.__main__ as entry
import numpy as np
import torch
from monai.bundle import ConfigParser
from PIL import Image

from doll_monai.utils.errors import TRACEBACK_VARIABLE
from doll_tools.phantom.dataset import write_dataset
from narrow import ROOT, read_config, smaller

SIZE = 64
CLASSIFIER, LUNGS, GENERATION = (
    ROOT / "bundles" / name
    for name in ("chexpert_cxr_classification", "lung_cxr_segmentation", "doll_cxr_label_generation")
)


@dataclass
class Done:
    """How a command ended: its exit code, and the last line of what it said."""

    code: int
    sentence: str
    said: str


def write_world(folder: Path) -> None:
    """Images in CheXpert's layout, others with masks, and finished results of every kind below ``done``."""
    write_dataset(folder / "images", count=12, seed=0, size=SIZE)
    images = folder / "new"
    images.mkdir()
    grey = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE), dtype=np.uint8)
    Image.fromarray(grey).save(images / "image.png")
    done = folder / "done"
    done.mkdir()
    for bundle in (CLASSIFIER, LUNGS, GENERATION):
        config = read_config(bundle, "inference")
        config["network_def"] = smaller(config["network_def"])
        if bundle == GENERATION:
            config["network_def"]["members"] = config["network_def"]["members"][:1]
        (folder / f"{bundle.name}.json").write_text(json.dumps({"network_def": config["network_def"]}))
        torch.manual_seed(0)
        network = ConfigParser(config).get_parsed_content("network_def")
        torch.save(network.state_dict(), done / f"{bundle.name}.pt")


def run(command: list[str], folder: Path, file_size: int | None = None) -> Done:
    """Run a program of ``scripts/``, or ``monai.bundle``, in a process of its own that need not import anything.

    Args:
        command: the program's name or ``monai.bundle``, and its arguments.
        folder: current folder.
        file_size: bytes above which no file may grow, as on a full disk.
    """
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            os._exit(_run_here(command, folder, writing, file_size))
        finally:
            os._exit(70)
    os.close(writing)
    with open(reading, encoding="utf-8", errors="replace") as pipe:
        said = pipe.read()
    _, status = os.waitpid(process, 0)
    lines = said.strip().splitlines()
    return Done(os.waitstatus_to_exitcode(status), lines[-1] if lines else "", said)


def _run_here(command: list[str], folder: Path, output: int, file_size: int | None) -> int:
    """Run a command in this process, as the interpreter would; returns its exit code."""
    os.chdir(folder)
    os.environ.pop(TRACEBACK_VARIABLE, None)
    sys.stdout, sys.stderr = (os.fdopen(os.dup(output), "w", buffering=1) for _ in range(2))
    os.dup2(output, 1)
    os.dup2(output, 2)
    torch.set_num_threads(1)
    if file_size is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
    program, *arguments = command
    try:
        if program == "monai.bundle":
            sys.argv = [str(entry.__file__), *arguments]
            runpy.run_module("monai.bundle", run_name="__main__")
        else:
            sys.argv = [str(ROOT / "scripts" / program), *arguments]
            runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def bundle_command(bundle: Path, world: Path, config: str = "inference", **values: object) -> list[str]:
    """A run of a bundle with a narrow network on the world's own files."""
    files = [str(bundle / "configs" / f"{config}.json"), str(world / f"{bundle.name}.json")]
    given = {"bundle_root": bundle, "image_size": [SIZE, SIZE], "num_workers": 0, "batch_size": 2}
    given |= {"checkpoint": world / "done" / f"{bundle.name}.pt", "output_dir": world / "out"}
    words = ["monai.bundle", "run", "--config_file", str(files)]
    for name, value in {**given, **values}.items():
        words += [f"--{name}", str(value)]
    return words


def digests(folder: Path) -> dict[str, str]:
    """Content of every file of a folder."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
