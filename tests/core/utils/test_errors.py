"""A mistake in a user's data ends in one sentence, wherever MONAI wraps it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from monai.bundle import ConfigParser
from monai.data import CacheDataset, DataLoader, Dataset
from monai.transforms import Compose

from doll_monai.transforms.reading import LoadRadiographd
from doll_monai.utils.errors import INTERRUPTED, TRACEBACK_VARIABLE, InputError, explained, sentence_of, switch

CONFIG = {
    "imports": ["$import doll_monai.bundle as doll"],
    "data": "$doll.load_datalist('absent.json', 'test', '.')",
}


def test_a_switch_is_read_however_it_was_written() -> None:
    assert [switch(value) for value in (True, False, "true", "False")] == [True, False, True, False]
    for value in ("yes", 2, None):
        with pytest.raises(InputError, match="multiply_by_inputs must be true or false"):
            switch(value, "multiply_by_inputs")


def _expression(records: list[dict[str, str]]) -> object:
    return ConfigParser({**CONFIG, "dataset": {"_target_": "Dataset", "data": "@data"}}).get_parsed_content("dataset")


READ = Compose([LoadRadiographd("image")])


@pytest.mark.parametrize(
    "action",
    [
        lambda records: READ(records[0]),
        lambda records: CacheDataset(records, READ, num_workers=1, progress=False),
        lambda records: next(iter(DataLoader(Dataset(records, READ), num_workers=1))),
        _expression,
    ],
    ids=["transform", "cache", "process of a data loader", "expression"],
)
def test_a_sentence_is_found_behind_what_wraps_it(action, tmp_path: Path) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - MONAI's wrapping is what is tested
        action([{"image": str(tmp_path / "absent.json")}])
    assert not isinstance(caught.value, InputError)
    assert "absent.json does not exist" in str(sentence_of(caught.value))


@pytest.mark.parametrize("error", [RuntimeError("bug"), ValueError("the words InputError: in a text"), KeyError("a")])
def test_other_errors_have_no_sentence(error: Exception) -> None:
    assert sentence_of(error) is None


def test_a_circle_of_causes_ends() -> None:
    first, second = RuntimeError("first"), RuntimeError("second")
    first.__cause__, second.__cause__ = second, first
    assert sentence_of(first) is None


@explained
def _fail(error: BaseException) -> None:
    raise RuntimeError("applying transform") from error


@pytest.fixture
def bundle_run(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """This process looks as ``python -m monai.bundle`` does."""
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", SimpleNamespace(name="monai.bundle.__main__"))
    monkeypatch.delenv(TRACEBACK_VARIABLE, raising=False)
    return monkeypatch


def test_a_bundle_run_ends_with_the_sentence_alone(bundle_run: pytest.MonkeyPatch) -> None:
    """Any other program, and one that asks for tracebacks, sees the error as it is."""
    with pytest.raises(SystemExit, match=r"^Error: The image is upside down\.$"):
        _fail(InputError("The image is upside down."))
    with pytest.raises(KeyError):
        explained(dict.__getitem__)({}, "a bug")
    bundle_run.setenv(TRACEBACK_VARIABLE, "1")
    with pytest.raises(RuntimeError, match="applying transform"):
        _fail(InputError("The image is upside down."))
    bundle_run.delenv(TRACEBACK_VARIABLE)
    bundle_run.setattr(sys.modules["__main__"], "__spec__", None)
    with pytest.raises(RuntimeError, match="applying transform"):
        _fail(InputError("The image is upside down."))


def test_an_interruption_is_explained(bundle_run: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as caught:
        explained(interrupted)()
    assert caught.value.code == 130
    assert capsys.readouterr().err == f"{INTERRUPTED}\n"


def test_the_interpreter_ends_with_the_sentence(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({**CONFIG, "run": ["@data"]}))
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", "run.json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("Error: absent.json does not exist")
