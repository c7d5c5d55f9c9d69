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
from serving import IMAGES, Server, start_server

from doll_tools.phantom.dataset import write_dataset
from seeded_run import write_seeded_run

collect_ignore_glob = [] if importlib.util.find_spec("monailabel") else ["test_*.py"]


@pytest.fixture(scope="session")
def truth(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, np.ndarray]]:
    """A folder of synthetic images, and their lungs' masks, (H, W) bool, by name."""
    folder, phantom = tmp_path_factory.mktemp("images"), tmp_path_factory.mktemp("phantom")
    write_dataset(phantom, count=IMAGES, seed=3, size=128)
    masks = {}
    with (phantom / "index.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            name, sides = row["image"].replace("/", "_"), [phantom / row["right_lung"], phantom / row["left_lung"]]
            shutil.copy(phantom / row["image"], folder / name)
            masks[Path(name).stem] = np.any([np.asarray(Image.open(side)) > 127 for side in sides], axis=0)
    return folder, masks


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished pipeline, with small networks whose weights are seeded."""
    run = tmp_path_factory.mktemp("run")
    write_seeded_run(run)
    return run


@pytest.fixture(scope="module")
def server(
    truth: tuple[Path, dict[str, np.ndarray]], run_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """The app over a copy of the images."""
    folder = tmp_path_factory.mktemp("app")
    shutil.copytree(truth[0], folder / "images")
    with start_server(str(folder / "images"), folder / "output", run_folder) as running:
        yield running
