"""Label generation as people run it: killed, shared by processes, out of space, with broken images."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient
from PIL import Image

from doll_monai.data.datalist import write_datalist
from doll_monai.utils.errors import sentence_of
from few_images import digests, files, kill_when, on_images, run, run_shared, write_weights
from narrow import ROOT

BUNDLE = ROOT / "bundles" / "doll_cxr_label_generation"
IMAGES, CHUNK = 24, 2


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder ``images`` with its datalist, and a random committee of two members beside it."""
    folder = tmp_path_factory.mktemp("data")
    generator = np.random.default_rng(0)
    records = []
    for number in range(IMAGES):
        image = f"patient{number:05d}/study1/view1_frontal.png"
        (folder / "images" / image).parent.mkdir(parents=True)
        pixels = generator.integers(0, 256, (72, 64), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / image)
        label = [1.0 if (number + channel) % 6 == 0 else -1.0 if channel == 3 else 0.0 for channel in range(14)]
        records.append({"image": image, "label": label})
    write_datalist(folder / "observations.json", {"training": records[:19], "validation": records[19:]})
    write_weights(BUNDLE, _values(folder, folder))
    return folder


def _values(data: Path, output: Path, **options: Any) -> dict[str, Any]:
    values = on_images(BUNDLE, data, output, ["inference"])
    values["network_def"]["members"] = values["network_def"]["members"][:2]
    values |= {"checkpoint": str(data / "model.pt"), "gradcam_layers": values["gradcam_layers"][:2]}
    return values | {"image_size": [64, 64], "ig_steps": 4} | options


def _run(data: Path, output: Path, **options: Any) -> None:
    run(BUNDLE, ["inference"], _values(data, output, **options))


@pytest.fixture(scope="module")
def undisturbed(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a run writes that nothing disturbs."""
    output = tmp_path_factory.mktemp("undisturbed") / "labels"
    _run(data, output)
    return digests(output)


@pytest.mark.slow
def test_a_run_killed_again_and_again_gives_the_same_bytes(data: Path, undisturbed, tmp_path: Path) -> None:
    output = tmp_path / "labels"
    moments: list[Callable[[], bool]] = [
        lambda: any(output.rglob("*.tmp")) or len(list(output.rglob("*.nii.gz"))) >= 5,
        lambda: len(list(output.glob("rows/*.csv"))) >= 6,
        lambda: (output / "labels.csv").is_file(),
    ]
    for moment in moments:
        kill_when(moment, BUNDLE, ["inference"], _values(data, output))
    (output / "rows" / "000005.csv").unlink()
    done = {path: path.stat().st_mtime_ns for path in (output / "rows").iterdir()}
    _run(data, output)
    assert digests(output) == undisturbed
    assert {path: path.stat().st_mtime_ns for path in done} == done


@pytest.mark.slow
def test_two_processes_give_the_same_bytes_as_one_and_the_first_tracks(data: Path, undisturbed, tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'mlruns.db'}"
    tracked = {"tracking": str(BUNDLE / "configs" / "mlflow.json"), "tracking_uri": database, "run_name": "shared"}
    run_shared(BUNDLE, ["inference"], _values(data, tmp_path / "labels", **tracked))
    made = digests(tmp_path / "labels")
    configurations = {name for name in made if name.startswith("config_")}
    assert {name: digest for name, digest in made.items() if name not in configurations} == undisturbed
    client = MlflowClient(database)
    (experiment,) = (e for e in client.search_experiments() if e.name == BUNDLE.name)
    (tracked_run,) = client.search_runs([experiment.experiment_id])
    assert {item.path for item in client.list_artifacts(tracked_run.info.run_id)} & configurations


def broken_images(data: Path, folder: Path) -> dict[str, str]:
    """Copies of the images of which some are broken, one way each: image to a word of the reason."""
    shutil.copytree(data / "images", folder)
    images = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
    whole = (folder / images[2]).read_bytes()
    (folder / images[0]).unlink()
    (folder / images[2]).write_bytes(whole[: len(whole) // 2])
    (folder / images[3]).write_bytes(b"")
    Image.fromarray(np.zeros((1, 64), np.uint8)).save(folder / images[9])
    (folder / images[14]).write_bytes(b"no picture at all")
    words = ["does not exist", "truncated", "is empty", "two-dimensional", "cannot be read"]
    return dict(zip((images[number] for number in (0, 2, 3, 9, 14)), words, strict=True))


def test_broken_images_are_listed_and_done_when_they_are_repaired(data: Path, undisturbed, tmp_path, caplog) -> None:
    images, output = tmp_path / "images", tmp_path / "labels"
    broken = broken_images(data, images)
    caplog.set_level("INFO")
    _run(data, output, dataset_dir=str(images), num_workers=1)
    assert f"{len(broken)} of {IMAGES} images could not be read" in caplog.text
    with open(output / "failures.csv", newline="") as file:
        failures = {row["image"]: row["reason"] for row in csv.DictReader(file)}
    assert list(failures) == list(broken)
    assert all(word in failures[image] for image, word in broken.items())
    written = digests(output)
    missing = {f"labels/{image.removesuffix('.png')}.nii.gz" for image in broken}
    assert {name for name in undisturbed if name.startswith("labels/")} - set(written) == missing
    listed = json.loads((output / "dataset.json").read_text())
    labels = {record["label"] for name in ("training", "validation") for record in listed[name]}
    assert labels == {name for name in written if name.startswith("labels/")}
    assert all(written[name] == undisturbed[name] for name in labels)

    before = (output / "rows" / "000000.csv").stat().st_mtime_ns
    _run(data, output, dataset_dir=str(images))
    assert "nothing to compute" in caplog.text
    assert digests(output) == written
    assert (output / "rows" / "000000.csv").stat().st_mtime_ns == before
    with pytest.raises(Exception) as caught:  # noqa: PT011 - MONAI wraps it
        _run(data, output, dataset_dir=str(images), on_error="raise")
    assert str(sentence_of(caught.value)).startswith("The image ")

    for image in broken:
        shutil.copy(data / "images" / image, images / image)
    _run(data, output, dataset_dir=str(images))
    assert digests(output) == undisturbed


def test_images_that_are_all_broken_end_in_one_sentence(data: Path, tmp_path: Path) -> None:
    images, output = tmp_path / "images", tmp_path / "labels"
    shutil.copytree(data / "images", images)
    for path in images.rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(Exception) as caught:  # noqa: PT011 - MONAI wraps it
        _run(data, output, dataset_dir=str(images))
    assert str(sentence_of(caught.value)).startswith("None of the images could be read")
    assert len((output / "failures.csv").read_text().splitlines()) == IMAGES + 1


@pytest.mark.slow
def test_a_full_disk_ends_in_one_sentence_and_the_run_continues(data: Path, undisturbed, tmp_path: Path) -> None:
    if subprocess.run(["unshare", "-rm", "true"], check=False).returncode != 0:
        pytest.skip("a file system of a few kilobytes cannot be mounted here")
    disk, kept, arguments = tmp_path / "disk", tmp_path / "kept", tmp_path / "arguments.json"
    disk.mkdir()
    arguments.write_text(json.dumps({"config_file": files(BUNDLE, ["inference"]), **_values(data, disk / "labels")}))
    script = 'mount -t tmpfs -o size=64k none "$0" && "$@"; code=$?; cp -r "$0" "$KEPT"; exit $code'
    words = [sys.executable, "-m", "monai.bundle", "run", "--args_file", str(arguments)]
    words = ["env", f"KEPT={kept}", "OMP_NUM_THREADS=1", "unshare", "-rm", "sh", "-c", script, str(disk), *words]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("Error: ")
    assert "No space left on device; free some space" in last
    assert 0 < len(list((kept / "labels").glob("rows/*.csv"))) < IMAGES / CHUNK
    assert not list(kept.rglob("*.tmp"))
    _run(data, kept / "labels")
    assert digests(kept / "labels") == undisturbed
