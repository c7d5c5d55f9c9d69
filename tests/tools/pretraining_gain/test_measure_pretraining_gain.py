"""The whole program with tiny numbers, interrupted and continued, and careless use of it."""

from __future__ import annotations

import json
import os
import re
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from doll_monai.utils.errors import InputError
from doll_tools.pretraining_gain.gain import COLUMNS
from doll_tools.pretraining_gain.stages import pretraining_network

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = ROOT / "scripts" / "measure_pretraining_gain.py"
BACKBONE = ROOT / "bundles" / "chexpert_cxr_classification" / "configs" / "members" / "resnet10_narrow.json"


def _values(folder: Path, **changes: Any) -> dict[str, Any]:
    network = folder / "network.json"
    backbone = json.loads(BACKBONE.read_text())["network_def"] | {"block_inplanes": [4, 8, 8, 8]}
    network.write_text(
        json.dumps({"network_def::network::backbone": backbone, "network_def::network::decoder_channels": 8})
    )
    return {
        "output": folder / "out",
        "qualities": "0.5,none",
        "films": 10,
        "shots": 2,
        "seeds": 1,
        "network": network,
        "image_size": 32,
        "film_size": 64,
        "iterations": 2,
        "batch_size": 2,
        "pretraining_iterations": 20,
        "pretraining_batch_size": 2,
        "validation_films": 4,
        "task_films": 60,
        **changes,
    }


def _command(folder: Path, **changes: Any) -> list[str]:
    values = _values(folder, **changes)
    return [sys.executable, str(PROGRAM), *(f"--{name}={value}" for name, value in values.items())]


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_a_killed_measurement_goes_on_and_labels_from_elsewhere_join_it(tmp_path: Path) -> None:
    output = tmp_path / "out"
    first, second = (output / "pretraining" / f"{name}_films10" for name in ("iou050", "none"))
    with subprocess.Popen(_command(tmp_path), stdout=subprocess.DEVNULL, start_new_session=True) as run:
        while not second.exists() and run.poll() is None:
            time.sleep(0.05)
        os.killpg(run.pid, signal.SIGKILL)
    trained = (first / "model.pt").stat().st_mtime_ns
    done = subprocess.run(_command(tmp_path), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "pretrain_iou050_films10: done before" in done.stdout
    assert (first / "model.pt").stat().st_mtime_ns == trained
    assert not list(output.glob("pretraining/*/training_state.pt"))

    table = pd.read_csv(output / "gain.csv", keep_default_na=False)
    assert list(table.columns) == COLUMNS
    assert set(table["init"]) == {"iou050_films10", "none_films10"}
    assert set(table["class"]) == {"all", "lungs", "heart", "opacity"}
    quality = table.groupby("quality_wanted")["quality"].first()
    assert quality["0.5"] == pytest.approx(0.5, abs=0.03)
    assert quality["none"] < 0.15
    summary = pd.read_csv(output / "comparison" / "summary.csv").query("split == 'test' and `class` == 'all'")
    iou = summary.set_index("init")["iou"]
    gains = table[table["class"] == "all"].set_index("init")["gain"].astype(float)
    for init, gain in gains.items():
        assert gain == pytest.approx(iou[init] - iou["scratch"], abs=1e-4)
    page = (output / "gain.md").read_text()
    assert "they say nothing about clinical ones" in page
    assert "--qualities=0.5,none" in page
    for name in ("gain.svg", "gain.png"):
        assert (output / name).stat().st_size > 1000

    joined = _command(tmp_path, qualities=0.5, labels=f"dolls={output / 'labels' / 'none'}")
    again = subprocess.run(joined, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr[-2000:]
    assert "pretrain_iou050_films10: done before" in again.stdout
    table = pd.read_csv(output / "gain.csv", keep_default_na=False).set_index("init")
    assert set(table.index) == {"iou050_films10", "dolls_films10"}
    assert set(table.loc["dolls_films10", "quality_wanted"]) == {""}
    assert set(table.loc["dolls_films10", "quality"].astype(float)) == {float(quality["none"])}

    other = subprocess.run(_command(tmp_path, film_size=72), capture_output=True, text=True, check=False)
    assert other.returncode == 1
    assert "were made with another film_size; give a new output_dir" in other.stderr


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"qualities": "0.5,1.5"}, "A label quality is a mean IoU above 0, at most 1, or none; not 1.5."),
        ({"qualities": "0.5,0.501"}, "The labels 'iou050' occur twice; qualities must differ by a hundredth"),
        ({"qualities": (), "labels": ()}, "There are no labels; give --qualities or --labels."),
        ({"labels": "dolls"}, "The labels 'dolls' cannot be read; write NAME=DIR."),
        ({"labels": "dolls=missing"}, "missing has no dataset.json; give a folder that"),
        ({"films": "50,50"}, "films must be different numbers of films"),
        ({"films": 0}, "films must be a whole number of at least 1, not 0."),
        ({"pretraining_iterations": 30}, "pretraining_iterations: iterations must be a multiple of 20, or fewer"),
        ({"backbone": "resnet17"}, "There is no backbone 'resnet17'; there are: resnet10_narrow, resnet18, resnet34"),
        ({"tunings": "adapter"}, "tunings must contain full"),
        ({"seed": -1}, "seed must be a whole number of at least 0, not -1."),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_careless_use_is_explained_before_anything_is_written(tmp_path: Path, changes: dict, sentence: str) -> None:
    program = runpy.run_path(str(PROGRAM))["measure_pretraining_gain"]
    with pytest.raises(InputError, match=re.escape(sentence)):
        program(**_values(tmp_path, **changes))
    assert not (tmp_path / "out").exists()


def test_a_value_that_is_set_for_each_network_is_refused(tmp_path: Path) -> None:
    (tmp_path / "values.json").write_text('{"max_epochs": 3}')
    program = runpy.run_path(str(PROGRAM))["measure_pretraining_gain"]
    with pytest.raises(InputError, match="'max_epochs' is set for each network; leave it out"):
        program(**_values(tmp_path, pretraining_values=tmp_path / "values.json"))


def test_the_network_of_pre_training_is_that_of_the_task() -> None:
    parts = {"network_def::network::backbone": {"a": 1}, "network_def::tuning": "full"}
    assert pretraining_network(parts) == {"network_def::backbone": {"a": 1}, "network_def::out_channels": 14}
    whole = {"network_def": {"_target_": "AdaptedNetwork", "network": {"_target_": "SegResNet"}, "head": "conv_final"}}
    assert pretraining_network(whole) == {"network_def": {"_target_": "SegResNet"}, "network_def::out_channels": 14}
