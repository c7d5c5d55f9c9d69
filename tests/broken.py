"""A small world of finished results, and commands that run in it as they do in a shell."""

from __future__ import annotations

import hashlib
import os
import resource
import runpy
import signal
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from doll_tools.cli import main
from doll_tools.phantom.dataset import write_dataset
from few_images import files, on_images, write_weights
from narrow import ROOT

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
    """Images in CheXpert's layout, another with noise, and seeded weights of three narrow networks in ``done``."""
    write_dataset(folder / "images", count=12, seed=0, size=SIZE)
    (folder / "new").mkdir()
    grey = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE), dtype=np.uint8)
    Image.fromarray(grey).save(folder / "new" / "image.png")
    for bundle in (CLASSIFIER, LUNGS, GENERATION):
        write_weights(bundle, _values(bundle, folder, "inference"))


def _values(bundle: Path, world: Path, config: str) -> dict[str, object]:
    values = on_images(bundle, world, world / "out", [config])
    if "members" in values["network_def"]:
        values["network_def"]["members"] = values["network_def"]["members"][:1]
        values["gradcam_layers"] = values["gradcam_layers"][:1]
    name = f"done/{bundle.name}.pt" if config == "inference" else "out/model.pt"
    values["checkpoint"] = str(world / name)
    return values | {"image_size": [SIZE, SIZE], "dataset_dir": str(world / "images")}


def bundle_command(bundle: Path, world: Path, config: str = "inference", **values: object) -> list[str]:
    """A run of a bundle with a narrow network on the world's own files."""
    words = ["monai.bundle", "run", "--config_file", str(files(bundle, [config]))]
    for name, value in {**_values(bundle, world, config), **values}.items():
        words += [f"--{name}", str(value)]
    return words


def run(command: list[str], folder: Path, file_size: int | None = None) -> Done:
    """Run ``doll`` or ``monai.bundle`` in a process of its own that need not import anything.

    Args:
        command: ``doll`` or ``monai.bundle``, and its arguments.
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
    sys.stdout, sys.stderr = (os.fdopen(os.dup(output), "w", buffering=1) for _ in range(2))
    os.dup2(output, 1)
    os.dup2(output, 2)
    torch.set_num_threads(1)
    if file_size is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
    program, *arguments = command
    try:
        if program == "doll":
            return main(arguments)
        sys.argv = [program, *arguments]
        runpy.run_module(program, run_name="__main__", alter_sys=True)
    except SystemExit as stop:
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def digests(folder: Path) -> dict[str, str]:
    """Content of every file of a folder, temporary ones included."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}
