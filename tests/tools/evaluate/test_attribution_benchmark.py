"""The comparison with captum: three rows of the same shape, and mistakes end in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from doll_tools.phantom.dataset import write_dataset

pytest.importorskip("resource", reason="peak memory is read from Unix")

from doll_tools.cli import main
from doll_tools.evaluate.attribution_benchmark import ROWS


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    write_dataset(folder, count=10, seed=0, size=64, quiet=True)
    return folder


def _benchmark(output: Path, **options: object) -> int:
    return main(["benchmark", "attribution", f"--output={output}", *(f"--{k}={v}" for k, v in options.items())])


@pytest.mark.slow
def test_three_rows_compare_the_same_images(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "bench.json"
    assert _benchmark(output, data=images, networks="resnet10_narrow", count=2, size=64, repeats=1, quiet=True) == 0
    figures = json.loads(output.read_text())
    assert figures["positive_observations"] > 0
    for row in ROWS:
        own = figures[row]
        assert own["ratio"] == pytest.approx(own["ours"] / own["captum"])
        assert own["ratio_by_network"] == {"resnet10_narrow": pytest.approx(own["ratio"])}
        assert own["steps"]["captum"] == 50
        assert set(own["peak_memory"]) == {"ours", "captum"}
    printed = capsys.readouterr().out
    assert all(row in printed for row in ROWS)
    assert figures["float32_equal_steps"]["steps"]["ours"] == 50
    assert figures["float32_own_steps"]["steps"]["ours"] < 50


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"networks": "vgg"}, "There is no member 'vgg'"),
        ({"data": "nowhere"}, "train.csv does not exist"),
        ({"count": 1000}, "count must be from 1 to the"),
    ],
)
def test_mistakes_end_in_one_sentence(
    changed: dict[str, object], sentence: str, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _benchmark(tmp_path / "bench.json", **{"data": images, "networks": "resnet10_narrow", **changed}) == 1
    assert sentence in capsys.readouterr().err
