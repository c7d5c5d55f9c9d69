"""These tests run in the environment of MONAI Label: ``make label-test``."""

from __future__ import annotations

import csv
import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from serving import DEMO, IMAGES, REAL, Server, start_server

from seeded_run import write_seeded_run

collect_ignore_glob = [] if importlib.util.find_spec("monailabel") else ["test_*.py"]


@pytest.fixture(scope="session")
def truth(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, np.ndarray]]:
    """Images with masks of both lungs, by name: real ones where they are at hand, else synthetic ones."""
    folder = tmp_path_factory.mktemp("images")
    source = REAL
    if not REAL.is_dir():
        from doll_tools.phantom.dataset import write_dataset

        source = tmp_path_factory.mktemp("phantom")
        write_dataset(source, count=IMAGES, seed=3, size=128)
    masks = {}
    with (source / "index.csv").open(newline="") as file:
        for row in list(csv.DictReader(file))[:IMAGES]:
            name = row["image"].replace("/", "_")
            shutil.copy(source / row["image"], folder / name)
            lungs = [np.asarray(Image.open(source / row[side])) > 127 for side in ("right_lung", "left_lung")]
            masks[Path(name).stem] = np.any(lungs, axis=0)
    return folder, masks


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished pipeline: the demo's where there is one, else its networks with seeded weights."""
    if (DEMO / "lung" / "adapter" / "adapter.pt").is_file():
        return DEMO
    run = tmp_path_factory.mktemp("run")
    write_seeded_run(run)
    return run


@pytest.fixture(scope="module")
def server(
    truth: tuple[Path, dict[str, np.ndarray]], run_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """The app over a copy of the images."""
    folder = tmp_path_factory.mktemp("app")
    images = folder / "images"
    shutil.copytree(truth[0], images)
    running = start_server(str(images), folder / "output", run_folder)
    yield running
    running.process.terminate()
    running.process.wait(20)
