"""Mistakes in data or configuration: one sentence at the end, a non-zero exit, no traceback, nothing lost."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from doll_monai.data.datalist import write_datalist

ROOT = Path(__file__).resolve().parents[3]
CLASSIFIER = ROOT / "bundles" / "chexpert_cxr_classification"
GENERATION = ROOT / "bundles" / "doll_cxr_label_generation"
LABEL = [float(channel % 2) for channel in range(14)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six small images and their datalist."""
    folder = tmp_path_factory.mktemp("data")
    generator = np.random.default_rng(0)
    for number in range(6):
        Image.fromarray(generator.integers(0, 255, (40, 40), dtype=np.uint8)).save(folder / f"{number}.png")
    records = [{"image": f"{number}.png", "label": LABEL if number % 2 else LABEL[::-1]} for number in range(6)]
    write_datalist(folder / "dataset.json", {"training": records[:4], "validation": records[4:]})
    return folder


def run_bundle(bundle: Path, configs: list[str], **overrides: object) -> subprocess.CompletedProcess[str]:
    files = [str(bundle / "configs" / f"{name}.json") if "/" not in name[:1] else name for name in configs]
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", str(files), "--bundle_root", str(bundle)]
    for name, value in {"image_size": [32, 32], "batch_size": 2, **overrides}.items():
        command += [f"--{name}", json.dumps(value) if isinstance(value, list) else str(value)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def train(data: Path, folder: Path, datalist: Path | None = None, **overrides: object):
    options = {"dataset_dir": data, "datalist": datalist or data / "dataset.json", "ckpt_dir": folder}
    return run_bundle(
        CLASSIFIER, ["train", "members/resnet10_narrow"], **{**options, "max_epochs": 1, "num_workers": 0, **overrides}
    )


def assert_one_sentence(result: subprocess.CompletedProcess[str], *words: str) -> None:
    assert result.returncode == 1, result.stderr
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("Error: ")
    assert "unexpected" not in last
    for word in words:
        assert word in last
    assert "Traceback" not in result.stdout + result.stderr


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a classifier trained for one epoch."""
    folder = tmp_path_factory.mktemp("trained")
    result = train(data, folder)
    assert result.returncode == 0, result.stderr
    return folder


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(("content", "reason"), [(None, "does not exist"), (b"no picture", "cannot be read")])
def test_a_bad_training_image_is_named(data: Path, tmp_path: Path, workers: int, content: bytes | None, reason: str):
    records = json.loads((data / "dataset.json").read_text())
    bad = data / f"bad_{workers}_{content is None}.png"
    if content is not None:
        bad.write_bytes(content)
    records["training"][2]["image"] = bad.name
    write_datalist(tmp_path / "dataset.json", records)
    result = train(data, tmp_path / "model", tmp_path / "dataset.json", num_workers=workers)
    assert_one_sentence(result, str(bad), reason)


def test_a_bad_validation_image_is_named(data: Path, tmp_path: Path) -> None:
    records = json.loads((data / "dataset.json").read_text())
    records["validation"][1]["image"] = "gone.png"
    write_datalist(tmp_path / "dataset.json", records)
    assert_one_sentence(train(data, tmp_path / "model", tmp_path / "dataset.json"), "gone.png", "does not exist")


def test_a_datalist_without_training_records_is_named(data: Path, tmp_path: Path) -> None:
    write_datalist(
        tmp_path / "dataset.json", {"validation": json.loads((data / "dataset.json").read_text())["training"]}
    )
    result = train(data, tmp_path / "model", tmp_path / "dataset.json")
    assert_one_sentence(result, str(tmp_path / "dataset.json"), "no 'training' records", "validation (4)")


def test_a_checkpoint_of_another_network_is_named(data: Path, trained: Path, tmp_path: Path) -> None:
    options = {"dataset_dir": data, "output_dir": tmp_path, "checkpoint": trained / "model.pt", "num_workers": 0}
    result = run_bundle(CLASSIFIER, ["inference", "members/densenet_tiny"], **options)
    assert_one_sentence(result, str(trained / "model.pt"), "another network")


def test_a_finished_training_is_not_passed_off_as_one_with_other_values(data: Path, trained: Path) -> None:
    before = (trained / "model.pt").read_bytes()
    result = train(data, trained, learning_rate=0.1, uncertain="ones")
    assert_one_sentence(result, "training_state.pt", "learning_rate, uncertain", "ckpt_dir")
    assert (trained / "model.pt").read_bytes() == before


def test_finished_labels_are_completed_but_not_passed_off_as_others(data: Path, trained: Path, tmp_path: Path) -> None:
    member = json.loads((CLASSIFIER / "configs" / "members" / "resnet10_narrow.json").read_text())["network_def"]
    committee = {"network_def": {"_target_": "doll_monai.networks.Committee", "members": [member]}}
    (tmp_path / "committee.json").write_text(json.dumps(committee))
    command = [sys.executable, str(ROOT / "scripts" / "assemble_committee.py"), "--members", str(trained / "model.pt")]
    subprocess.run([*command, "--output", str(tmp_path / "committee.pt")], check=True, capture_output=True)
    options = {"dataset_dir": data, "datalist": data / "dataset.json", "output_dir": tmp_path / "labels"}
    options |= {"checkpoint": tmp_path / "committee.pt", "num_workers": 0, "ig_steps": 2}
    configs = ["inference", str(tmp_path / "committee.json")]
    assert run_bundle(GENERATION, configs, **options).returncode == 0
    datalist = (tmp_path / "labels" / "dataset.json").read_bytes()
    (tmp_path / "labels" / "dataset.json").unlink()
    assert run_bundle(GENERATION, configs, **options).returncode == 0
    assert (tmp_path / "labels" / "dataset.json").read_bytes() == datalist
    assert_one_sentence(run_bundle(GENERATION, configs, **{**options, "ig_steps": 3}), "ig_steps", "output_dir")
