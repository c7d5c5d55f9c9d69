"""The comparison with captum runs, resumes, and its figures are those of what it computed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = ROOT / "scripts" / "benchmark_attribution.py"


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(PROGRAM), *arguments], capture_output=True, text=True, check=False, timeout=600
    )


@pytest.fixture
def images(tmp_path: Path) -> Path:
    command = ["-m", "doll_tools.phantom", "--count", "40", "--seed", "0", "--size", "64"]
    subprocess.run([sys.executable, *command, "--output", str(tmp_path / "images")], check=True, capture_output=True)
    return tmp_path / "images"


@pytest.mark.slow
def test_figures_are_complete_and_a_second_run_computes_nothing_again(images: Path, tmp_path: Path) -> None:
    output = tmp_path / "bench.json"
    arguments = ["--networks", "resnet10_narrow,densenet_tiny", "--chexpert", str(images), "--output", str(output)]
    arguments += ["--count", "4", "--reference_count", "2", "--size", "64"]
    first = _run(*arguments)
    assert first.returncode == 0, first.stderr
    figures = json.loads(output.read_text())
    assert figures["throughput_ratio"] > 0
    assert 0 < figures["foreground_iou_median"] <= 1
    assert figures["foreground_iou_median_captum"] > 0.8
    for key in ("completeness_error_median", "peak_memory_bytes"):
        assert set(figures[key]) == {"ours", "captum"}
        assert min(figures[key].values()) > 0
    pairs = figures["pairs"]
    assert pairs == round(4 * figures["positives_per_image"])
    for engine in ("ours", "captum"):
        seconds = figures["engines"][engine]["seconds"]
        assert figures["seconds_per_pair"][engine] == pytest.approx(sum(seconds.values()) / pairs)
    assert figures["engines"]["captum"]["steps_mean"] == 50
    assert figures["engines"]["reference"]["steps_mean"] == 200
    assert figures["completeness_error_median"]["captum"] < 0.2
    results = {path: path.stat().st_mtime_ns for path in (tmp_path / "bench.json.work").rglob("*.pt")}
    output.unlink()
    assert _run(*arguments).returncode == 0
    assert json.loads(output.read_text()) == figures
    assert results == {path: path.stat().st_mtime_ns for path in (tmp_path / "bench.json.work").rglob("*.pt")}


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"--networks": "vgg"}, "There is no member 'vgg'"),
        ({"--chexpert": "nowhere"}, "train.csv does not exist"),
        ({"--reference_count": "9"}, "reference_count must be from 1 to count, 4"),
    ],
)
def test_mistakes_end_in_one_sentence(changed: dict[str, str], sentence: str, tmp_path: Path) -> None:
    options = {"--networks": "resnet10_narrow", "--chexpert": str(tmp_path), "--output": str(tmp_path / "bench.json")}
    options |= {"--count": "4", "--reference_count": "2", **changed}
    done = _run(*(text for pair in options.items() for text in pair))
    assert done.returncode == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
