"""The four programs: mistakes end in one sentence, and the figures come out."""

from __future__ import annotations

import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_figures import make_comparison
from PIL import Image

from doll_monai.utils.errors import InputError

FOLDER = Path(__file__).resolve().parents[3] / "scripts" / "figures"
PROGRAMS = sorted(FOLDER.glob("fig?_*.py"))


def draw_of(program: Path) -> Callable[..., Any]:
    return runpy.run_path(str(program))["draw"]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_without_a_run_the_programs_say_how_to_make_one(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"output/demo is no finished run.* make demo"):
        draw_of(program)()
    with pytest.raises(InputError, match=r"must end in \.png, \.pdf, \.svg"):
        draw_of(program)(output="figure.jpg")
    with pytest.raises(InputError, match="dpi must be"):
        draw_of(program)(dpi=0)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_run_ends_with_one_sentence_and_exit_code_1(tmp_path: Path) -> None:
    command = [sys.executable, str(FOLDER / "fig2_dolls_beside_truth.py"), "--run", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("Error: ")
    assert "make demo" in done.stderr
    assert "Traceback" not in done.stderr


def test_labels_are_drawn_without_maps(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw = draw_of(FOLDER / "fig2_dolls_beside_truth.py")
    draw(run=str(run), output=str(tmp_path / "fig2.png"), maps=False, dpi=40)
    said = capsys.readouterr().out
    assert Image.open(tmp_path / "fig2.png").size[0] == 400
    assert "All 5 pairs of validation image and observation with a known place: mean IoU 0.280." in said
    with pytest.raises(InputError, match="No test image"):
        draw(run=str(run), output=str(tmp_path / "fig2.png"), section="test")
    with pytest.raises(InputError, match="observations must be"):
        draw(run=str(run), output=str(tmp_path / "fig2.png"), observations=0)


def test_curves_of_given_comparisons_are_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_comparison(tmp_path / "comparisons" / "lung", ("lungs",))
    draw = draw_of(FOLDER / "fig4_fine_tuning_curves.py")
    draw(run="nowhere", comparisons=str(tmp_path / "comparisons"), output=str(tmp_path / "fig4.svg"))
    said = capsys.readouterr().out
    assert "lung, scratch: 0.150 (0.100 to 0.200)" in said
    assert "lung, doll: 0.350 (0.300 to 0.400)" in said
    assert (tmp_path / "fig4.svg").is_file()
