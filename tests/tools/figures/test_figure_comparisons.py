"""Where the comparisons of figures come from."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from made_figures import make_comparison, write_json

from doll_monai.utils.errors import InputError
from doll_tools.figures import comparisons
from doll_tools.figures.comparisons import TASKS, comparisons_for, found_in

ROOT = Path(__file__).resolve().parents[3]


def test_the_papers_tasks_come_first_in_their_order(tmp_path: Path) -> None:
    for name in ("bones", "covid", "lung"):
        make_comparison(tmp_path / name, ("a",))
    assert [folder.name for folder in found_in(tmp_path)] == ["lung", "covid", "bones"]


def test_given_comparisons_need_no_run(comparison: Path, tmp_path: Path) -> None:
    assert comparisons_for("nowhere", comparison.parent, tmp_path / "own", ROOT) == [comparison]
    with pytest.raises(InputError, match="has no comparison"):
        comparisons_for("nowhere", tmp_path / "empty", tmp_path / "own", ROOT)


def test_what_is_missing_is_compared_with_the_runs_networks(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(comparisons, "run_printed", commands.append)
    own = run.parent / "own"
    for task in TASKS:
        folder = make_comparison(own / task, ("a",), run / "pretraining/model.pt")
        for cell in ("classifier_full_shots5_seed{}", "doll_backbone_full_shots5_seed{}", "doll_adapter_shots5_seed{}"):
            for seed in range(2):
                write_json(folder / "cells" / cell.format(seed) / "cell.json", {"values": {}})
    shutil.rmtree(own / "covid/cells/doll_adapter_shots5_seed0")
    shutil.rmtree(own / "jsrt/cells/classifier_full_shots5_seed1")
    assert [folder.name for folder in comparisons_for(run, None, own, ROOT)] == list(TASKS)
    values = [dict(zip(command[2::2], command[3::2], strict=True)) for command in commands]
    assert [value["--bundle"] for value in values] == ["jsrt_cxr_segmentation", "covid_cxr_segmentation"]
    assert [value["--inits"] for value in values] == ["scratch,classifier,doll_backbone,doll", "doll"]
    assert [value["--tunings"] for value in values] == ["full", "adapter"]
    assert values[0]["--classifier"] == str(run / "members/resnet/model.pt")
    assert values[0]["--pretrained"] == str(run / "pretraining/model.pt")
    assert all(Path(path).is_file() for path in (values[0]["--cell_values"], commands[0][1]))


def test_comparisons_of_other_networks_are_refused(run: Path) -> None:
    own = run.parent / "own"
    make_comparison(own / "lung", ("lungs",), run / "pretraining/model.pt")
    (run / "pretraining/model.pt").write_bytes(b"other weights")
    with pytest.raises(InputError, match="compares other networks"):
        comparisons_for(run, None, own, ROOT)
