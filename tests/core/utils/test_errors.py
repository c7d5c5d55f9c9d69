"""A mistake in a user's data ends in one sentence, wherever MONAI wraps it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from monai.bundle import ConfigParser
from monai.data import CacheDataset, DataLoader, Dataset
from monai.transforms import Compose

from doll_monai.transforms.reading import LoadRadiographd
from doll_monai.utils.errors import InputError, explain_errors, sentence_of, switch

PROGRAM = """
from doll_monai.utils.errors import InputError, run_program
def program(folder: str, count: int = 1, fast: bool = False) -> None:
    if folder == "absent":
        raise InputError("The folder absent does not exist.")
    if folder == "bug":
        raise RuntimeError("a mistake in the program")
    if folder == "stop":
        raise KeyboardInterrupt
    print(folder, count, fast)
run_program(program)
"""


@pytest.mark.parametrize(("value", "expected"), [(True, True), (False, False), ("true", True), ("False", False)])
def test_a_switch_is_read_however_it_was_written(value, expected: bool) -> None:
    assert switch(value) is expected


@pytest.mark.parametrize("value", ["yes", 2, None])
def test_what_is_no_switch_is_refused(value) -> None:
    with pytest.raises(InputError, match="ig_compile must be true or false"):
        switch(value, "ig_compile")


def _program(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "DOLL_MONAI_TRACEBACK": "0", **environment},
    )


def _raised(action) -> BaseException:
    with pytest.raises(Exception) as info:  # noqa: PT011 - MONAI's wrapping is what is tested
        action()
    return info.value


@pytest.fixture
def missing(tmp_path: Path) -> tuple[list[dict[str, str]], str]:
    path = tmp_path / "no image.png"
    return [{"image": str(path)}], f"The image {path} does not exist; correct the datalist or dataset_dir."


def test_sentence_is_found_behind_a_transform(missing) -> None:
    records, sentence = missing
    error = _raised(lambda: Compose([LoadRadiographd("image")])(records[0]))
    assert not isinstance(error, InputError)
    assert sentence_of(error) == sentence


def test_sentence_is_found_behind_a_cache(missing) -> None:
    records, sentence = missing
    error = _raised(lambda: CacheDataset(records, Compose([LoadRadiographd("image")]), num_workers=1, progress=False))
    assert sentence_of(error) == sentence


def test_sentence_is_found_behind_a_configuration_expression(tmp_path: Path) -> None:
    parser = ConfigParser(
        {
            "imports": ["$from doll_monai.data import load_datalist"],
            "data": f"$load_datalist({str(tmp_path / 'absent.json')!r}, 'training', '.')",
            "dataset": {"_target_": "Dataset", "data": "@data"},
        }
    )
    error = _raised(lambda: parser.get_parsed_content("dataset"))
    assert not isinstance(error, InputError)
    sentence = sentence_of(error)
    assert sentence is not None
    assert sentence.startswith(f"{tmp_path / 'absent.json'} does not exist")


def test_sentence_is_found_behind_a_data_loaders_process(missing) -> None:
    records, sentence = missing
    loader = DataLoader(Dataset(records, Compose([LoadRadiographd("image")])), num_workers=1)
    error = _raised(lambda: next(iter(loader)))
    assert sentence_of(error) == sentence


@pytest.mark.parametrize("error", [RuntimeError("bug"), ValueError("the words InputError: in a text"), KeyError("a")])
def test_other_errors_have_no_sentence(error: Exception) -> None:
    assert sentence_of(error) is None


def test_a_circle_of_causes_ends() -> None:
    first, second = RuntimeError("first"), RuntimeError("second")
    first.__cause__, second.__cause__ = second, first
    assert sentence_of(first) is None


def test_hook_prints_the_sentence_alone(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOLL_MONAI_TRACEBACK", raising=False)
    explain_errors()
    error = InputError("The image is upside down; turn it.")
    sys.excepthook(InputError, error, None)
    assert capsys.readouterr().err == "Error: The image is upside down; turn it.\n"


def test_hook_shows_other_errors_as_ever_and_names_the_one_behind_them(capsys: pytest.CaptureFixture) -> None:
    explain_errors()
    error = RuntimeError("applying transform")
    error.__cause__ = KeyError("image\nkey")
    sys.excepthook(RuntimeError, error, None)
    lines = capsys.readouterr().err.splitlines()
    assert "RuntimeError: applying transform" in lines
    assert lines[-1] == "Error: unexpected KeyError: 'image\\nkey'"


def test_program_gets_its_options() -> None:
    result = _program("images", "--count", "3", "--fast")
    assert (result.returncode, result.stdout) == (0, "images 3 True\n")
    assert _program("--folder=images", "--nofast").stdout == "images 1 False\n"


@pytest.mark.parametrize("option", ["--cuont=3", "--cuont", "--nocuont"])
def test_program_refuses_unknown_options_before_it_runs(option: str) -> None:
    result = _program("images", option)
    assert result.returncode == 1
    assert result.stdout == ""
    name = option.removeprefix("--").partition("=")[0]
    assert result.stderr == f"Error: There is no option --{name}; there are: --folder, --count, --fast.\n"


def test_program_ends_with_the_sentence_and_exit_code_one() -> None:
    result = _program("absent")
    assert (result.returncode, result.stderr) == (1, "Error: The folder absent does not exist.\n")


def test_traceback_is_shown_when_asked_for_and_for_bugs() -> None:
    asked = _program("absent", DOLL_MONAI_TRACEBACK="1")
    assert "Traceback" in asked.stderr
    assert asked.stderr.endswith("Error: The folder absent does not exist.\n")
    bug = _program("bug")
    assert "Traceback" in bug.stderr
    assert bug.returncode == 1


def test_an_interruption_is_explained_without_a_traceback() -> None:
    result = _program("stop")
    assert result.returncode != 0
    assert "Traceback" not in result.stderr
    assert "the same command continues" in result.stderr


def test_input_error_is_a_value_error() -> None:
    assert issubclass(InputError, ValueError)
