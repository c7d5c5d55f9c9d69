"""Label generation as people run it, in processes of its own: killed, shared, out of space, with broken images."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from monai.bundle import ConfigParser
from PIL import Image

from doll_monai.data.datalist import write_datalist

ROOT = Path(__file__).resolve().parents[3]
BUNDLE = ROOT / "bundles" / "doll_cxr_label_generation"
MEMBER = ROOT / "bundles" / "chexpert_cxr_classification" / "configs" / "members" / "resnet10_narrow.json"
IMAGES, CHUNK = 24, 2
SHARED = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images, their ``dataset.json``, a random committee and its configuration."""
    folder = tmp_path_factory.mktemp("data")
    generator = np.random.default_rng(0)
    records = []
    for number in range(IMAGES):
        image = f"patient{number:05d}/study1/view1_frontal.png"
        (folder / image).parent.mkdir(parents=True)
        Image.fromarray(generator.integers(0, 256, (72, 64), dtype=np.uint8)).save(folder / image)
        label = [1.0 if (number + channel) % 6 == 0 else -1.0 if channel == 3 else 0.0 for channel in range(14)]
        records.append({"image": image, "label": label})
    write_datalist(folder / "dataset.json", {"training": records[:19], "validation": records[19:]})
    member = json.loads(MEMBER.read_text())["network_def"]
    definition = {"_target_": "doll_monai.networks.Committee", "members": [member, member]}
    (folder / "committee.json").write_text(json.dumps({"network_def": definition}))
    torch.manual_seed(1)
    torch.save(ConfigParser(definition).get_parsed_content().state_dict(), folder / "model.pt")
    return folder


def command(data: Path, output: Path, launcher: list[str] | None = None, **overrides: object) -> list[str]:
    configs = [str(BUNDLE / "configs" / "inference.json"), str(data / "committee.json")]
    values = {
        "config_file": str(configs),
        "bundle_root": BUNDLE,
        "dataset_dir": data,
        "checkpoint": data / "model.pt",
        "output_dir": output,
        "image_size": [64, 64],
        "batch_size": CHUNK,
        "num_workers": 0,
        "ig_steps": 4,
        **overrides,
    }
    words = [sys.executable, *(launcher or []), "-m", "monai.bundle", "run"]
    for name, value in values.items():
        words += [f"--{name}", json.dumps(value) if isinstance(value, list) else str(value)]
    return words


def run(words: list[str], **options) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(words, capture_output=True, text=True, check=False, env=environment, **options)


def digests(folder: Path) -> dict[str, str]:
    """Content of every file, temporary ones included."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def undisturbed(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a run writes that nothing disturbs."""
    output = tmp_path_factory.mktemp("undisturbed") / "labels"
    result = run(command(data, output))
    assert result.returncode == 0, result.stderr
    return digests(output)


def kill_when(words: list[str], moment: Callable[[], bool]) -> None:
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not moment():
        assert process.poll() is None, "the run ended before the moment came"
        time.sleep(0.0005)
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_a_run_killed_again_and_again_gives_the_same_bytes(data: Path, undisturbed, tmp_path: Path) -> None:
    output = tmp_path / "labels"
    words = command(data, output)
    moments: list[Callable[[], bool]] = [
        lambda: output.is_dir(),
        lambda: any(output.rglob("*.tmp")) or len(list(output.rglob("*.nii.gz"))) >= 5,
        lambda: len(list(output.glob("rows/*.csv"))) >= 3,
        lambda: len(list(output.rglob("*.nii.gz"))) >= 11,
        lambda: len(list(output.rglob("*.nii.gz"))) >= 16,
        lambda: (output / "labels.csv").is_file(),
    ]
    for moment in moments:
        kill_when(words, moment)
    (output / "rows" / "000005.csv").unlink()
    done = {path: path.stat().st_mtime_ns for path in (output / "rows").iterdir()}
    assert run(words).returncode == 0
    assert digests(output) == undisturbed
    assert {path: path.stat().st_mtime_ns for path in done} == done


def test_two_processes_give_the_same_bytes_as_one_and_the_first_tracks(data: Path, undisturbed, tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'mlruns.db'}"
    tracked = {"tracking": BUNDLE / "configs" / "mlflow.json", "tracking_uri": database, "run_name": "shared"}
    result = run(command(data, tmp_path / "labels", SHARED, **tracked))
    assert result.returncode == 0, result.stderr
    made = digests(tmp_path / "labels")
    configurations = [name for name in made if name.startswith("config_")]
    assert {name: digest for name, digest in made.items() if name not in configurations} == undisturbed
    client = MlflowClient(database)
    (experiment,) = (e for e in client.search_experiments() if e.name == "doll_cxr_label_generation")
    (tracked_run,) = client.search_runs([experiment.experiment_id])
    bars = [line.partition(":")[0] for line in result.stderr.splitlines() if "(100 %)" in line]
    assert bars == ["labels, first of 2 processes"]
    assert {item.path for item in client.list_artifacts(tracked_run.info.run_id)} & set(configurations)


def broken_images(data: Path, folder: Path) -> dict[str, str]:
    """Copies of the images of which some are broken, one way each: image to a word of the reason."""
    shutil.copytree(data, folder)
    images = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
    whole = (folder / images[2]).read_bytes()
    (folder / images[0]).unlink()
    (folder / images[2]).write_bytes(whole[: len(whole) // 2])
    (folder / images[3]).write_bytes(b"")
    Image.fromarray(np.zeros((1, 64), np.uint8)).save(folder / images[9])
    (folder / images[14]).write_bytes(b"no picture at all")
    Image.fromarray(np.full((72, 64), np.nan, np.float32)).save(folder / images[19], format="TIFF")
    words = ["does not exist", "truncated", "is empty", "two-dimensional", "cannot be read", "no numbers"]
    return dict(zip((images[number] for number in (0, 2, 3, 9, 14, 19)), words, strict=True))


def test_broken_images_are_listed_and_done_when_they_are_repaired(data: Path, undisturbed, tmp_path: Path) -> None:
    images, output = tmp_path / "images", tmp_path / "labels"
    broken = broken_images(data, images)
    result = run([*command(images, output, num_workers=1), "--quiet"])
    assert result.returncode == 0, result.stderr
    said = [line for line in result.stderr.splitlines() if not line.startswith("parsing config_file ")]
    assert said == []  # but for MONAI's own warning
    assert f"{len(broken)} of {IMAGES} images could not be read" in result.stdout
    with open(output / "failures.csv", newline="") as file:
        failures = {row["image"]: row["reason"] for row in csv.DictReader(file)}
    assert list(failures) == list(broken)
    for image, word in broken.items():
        assert word in failures[image]
        assert image in result.stdout
    written = digests(output)
    labels = {f"labels/{image.removesuffix('.png')}.nii.gz" for image in broken}
    listed = json.loads((output / "dataset.json").read_text())
    assert {name for name in undisturbed if name.startswith("labels/")} - set(written) == labels
    assert {record["label"] for name in ("training", "validation") for record in listed[name]} == {
        name for name in written if name.startswith("labels/")
    }
    assert all(written[name] == undisturbed[name] for name in written if name.startswith("labels/"))

    before = (output / "rows" / "000000.csv").stat().st_mtime_ns
    again = run(command(images, output))
    assert again.returncode == 0, again.stderr
    assert "nothing to compute" in again.stdout
    assert digests(output) == written
    assert (output / "rows" / "000000.csv").stat().st_mtime_ns == before
    raised = run([*command(images, output, on_error="raise"), "--quiet"])
    assert raised.returncode == 1
    assert "%)" not in raised.stderr
    assert raised.stderr.strip().splitlines()[-1].startswith("Error: The image ")

    for image in broken:
        shutil.copy(data / image, images / image)
    assert run(command(images, output)).returncode == 0
    assert digests(output) == undisturbed


def test_images_that_are_all_broken_end_in_one_sentence(data: Path, tmp_path: Path) -> None:
    images, output = tmp_path / "images", tmp_path / "labels"
    shutil.copytree(data, images)
    for path in images.rglob("*.png"):
        path.write_bytes(b"")
    result = run(command(images, output))
    assert result.returncode == 1
    assert result.stderr.strip().splitlines()[-1].startswith("Error: None of the images could be read")
    assert len((output / "failures.csv").read_text().splitlines()) == IMAGES + 1
    for path in images.rglob("*.png"):
        shutil.copy(data / path.relative_to(images), path)
    assert run(command(images, output)).returncode == 0


def test_a_full_disk_ends_in_one_sentence_and_the_run_continues(data: Path, undisturbed, tmp_path: Path) -> None:
    if run(["unshare", "-rm", "true"]).returncode != 0:
        pytest.skip("a file system of a few kilobytes cannot be mounted here")
    disk, kept = tmp_path / "disk", tmp_path / "kept"
    disk.mkdir()
    script = 'mount -t tmpfs -o size=64k none "$0" && "$@"; code=$?; cp -r "$0" "$KEPT"; exit $code'
    words = ["env", f"KEPT={kept}", "unshare", "-rm", "sh", "-c", script, str(disk), *command(data, disk / "labels")]
    result = run(words)
    assert result.returncode == 1, result.stderr
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("Error: ")
    assert "No space left on device; free some space" in last
    assert "Traceback" not in result.stderr
    assert 0 < len(list((kept / "labels").glob("rows/*.csv"))) < IMAGES / CHUNK
    assert not list(kept.rglob("*.tmp"))
    assert run(command(data, kept / "labels")).returncode == 0
    assert digests(kept / "labels") == undisturbed


def test_a_file_that_grows_too_large_ends_in_one_sentence(data: Path, tmp_path: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    result = run(command(data, tmp_path / "labels"), preexec_fn=limit)
    assert result.returncode == 1
    assert "File too large" in result.stderr.strip().splitlines()[-1]
    assert not list((tmp_path / "labels").rglob("*.tmp"))
    assert not (tmp_path / "labels" / "dataset.json").exists()
