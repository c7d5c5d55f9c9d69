"""How the label app is started wrongly, and without MONAI Label."""

from __future__ import annotations

import importlib.util
import shlex
from pathlib import Path

import pytest

from doll_tools.cli import main
from narrow import ROOT


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["no_folder"], "The folder of images no_folder does not exist"),
        ([".", "--bundles", "no_bundles"], "There are no bundles in"),
        ([".", "--bundles", str(ROOT / "bundles"), "--run", "no_run"], "no_run has no pretraining/model.pt"),
    ],
)
def test_wrong_start_ends_in_a_sentence(
    options: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    assert main(["annotate", *options]) == 1
    assert sentence in capsys.readouterr().err


def test_two_commands_make_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["annotate", str(tmp_path)]) == 1
    lines = capsys.readouterr().err.splitlines()
    venv, install = [shlex.split(line) for line in lines if line.startswith("    ")]
    assert venv[1:] == ["-m", "venv", ".venv-label"]
    assert install[0] == ".venv-label/bin/python"
    requirements = Path(install[install.index("-r") + 1])
    assert "monailabel==0.8.5" in requirements.read_text().split()
    assert (Path(install[-1]) / "pyproject.toml").is_file() or install[-1].startswith("doll-monai==")
