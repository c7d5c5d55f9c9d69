"""Every training survives ``kill -9`` and ends with the weights of an undisturbed one, bit by bit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from few_images import on_images, write_images
from narrow import BUNDLES, has, read_config, smaller

TRAINED = [bundle for bundle in BUNDLES if has(bundle, "train")]
EPOCHS = 12


def _command(bundle: Path, images: Path, output: Path) -> list[str]:
    network = smaller(read_config(bundle, "train")["network_def"])
    values = on_images(bundle, images, output) | {"network_def": network, "image_size": [48, 48], "batch_size": 4}
    values |= {"config_file": str(bundle / "configs" / "train.json"), "max_epochs": EPOCHS}
    arguments = output.with_suffix(".json")
    arguments.write_text(json.dumps(values))
    return [sys.executable, "-m", "monai.bundle", "run", "--args_file", str(arguments)]


def _run(command: list[str]) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


def _kill_when(command: list[str], moment: Callable[[], bool]) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env=environment, start_new_session=True, **quiet) as process:
        while not moment():
            assert process.poll() is None, "the run ended before the moment came"
            time.sleep(0.0005)
        os.killpg(process.pid, signal.SIGKILL)


def _epoch(output: Path) -> int:
    """Epochs that are behind the training, as far as its last checkpoint knows."""
    state = output / "training_state.pt"
    return torch.load(state, weights_only=True)["epoch"] if state.is_file() else 0


def _weights(path: Path) -> dict[str, torch.Tensor]:
    content = torch.load(path, weights_only=True)
    return content.get("model", content)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("bundle", TRAINED, ids=lambda path: path.name)
def test_a_killed_training_ends_like_an_undisturbed_one(bundle: Path, tmp_path: Path) -> None:
    images = write_images(tmp_path)
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    _run(_command(bundle, images, undisturbed))
    command = _command(bundle, images, killed)
    _kill_when(command, lambda: _epoch(killed) >= 3)
    assert _epoch(killed) < EPOCHS
    assert f"Continuing after epoch {_epoch(killed)}" in _run(command)
    names = {path.name for path in undisturbed.glob("*.pt")}
    assert {"model.pt", "training_state.pt"} <= names
    assert names == {path.name for path in killed.glob("*.pt")}
    for name in names - {"training_state.pt"}:
        before, after = _weights(undisturbed / name), _weights(killed / name)
        assert before.keys() == after.keys()
        assert all(torch.equal(value, after[key]) for key, value in before.items()), name
