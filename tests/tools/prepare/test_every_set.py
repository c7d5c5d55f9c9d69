"""What holds for every data set: it stays as it is, patients stay apart, and what is broken is named."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
from preparing import SETS, all_images, images_of, tree

from doll_tools.cli import COMMANDS, main

PAGE = Path(__file__).parents[3] / "docs" / "data.md"
PROGRAMS = {name: target.partition(":") for name, (target, _) in COMMANDS.items() if name.startswith("prepare ")}


@pytest.fixture(params=sorted(SETS))
def prepared(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[list[str], str, str]:
    """The command for a small tree in ``set``, the patient in an image's path, and what is written beside."""
    build, name, patient, beside = SETS[request.param]
    options = build(tmp_path / "set")
    return ["prepare", name, *(f"--{option}={value}" for option, value in options.items())], patient, beside


def test_a_set_is_prepared_by_its_command_and_stays_as_it_is(prepared: tuple, tmp_path: Path) -> None:
    command, patient, beside = prepared
    before, out = tree(tmp_path / "set"), tmp_path / "out"
    assert main([*command, f"--output={out}"]) == 0
    assert tree(tmp_path / "set") == before
    written = tree(out)
    assert {name.split("/")[0] for name in written} == {"dataset.json", beside or "dataset.json"}
    images = images_of(out)
    assert images[0]
    assert all((tmp_path / "set" / path).is_file() for section in images for path in section)
    people = [{re.search(patient, path)[0] for path in section} for section in images]
    assert sum(map(len, people)) == len(set().union(*people))
    assert main([*command, f"--output={out}"]) == 0
    assert tree(out) == written


def test_check_names_a_broken_image_and_writes_nothing(
    prepared: tuple, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    command, *_ = prepared
    assert main([*command, f"--output={tmp_path / 'out'}"]) == 0
    images = all_images(tmp_path / "out")
    assert main([*command, "--check"]) == 0
    assert f"All {len(images)} images and their masks are there and readable" in capsys.readouterr().out
    broken = tmp_path / "set" / images[0]
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    before = tree(tmp_path)
    assert main([*command, f"--output={tmp_path / 'new'}", "--check"]) == 1
    printed = capsys.readouterr()
    assert f"{images[0]} cannot be read" in printed.out
    assert printed.err.splitlines()[-1].startswith(f"Error: 1 of {len(images)} images or their masks are missing or")
    assert tree(tmp_path) == before


def test_the_commands_of_the_page_have_options_that_exist() -> None:
    commands = re.findall(r"^doll (prepare \w+) (.+)$", PAGE.read_text().replace("\\\n", " "), re.MULTILINE)
    assert {name for name, _ in commands} == set(PROGRAMS)
    for name, arguments in commands:
        assert set(re.findall(r"--(\w+)", arguments)) <= set(inspect.signature(_program(name)).parameters)


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_help_explains_every_option(name: str) -> None:
    with pytest.raises(SystemExit) as stop:
        main([*name.split(), "--help"])
    assert stop.value.code == 0
    program = _program(name)
    arguments = (inspect.getdoc(program) or "").partition("Args:\n")[2].partition("\n\n")[0]
    documented = re.findall(r"^    (\w+): ", arguments, re.MULTILINE)
    assert sorted(documented) == sorted(inspect.signature(program).parameters)


def _program(name: str) -> object:
    module, _, function = PROGRAMS[name]
    return getattr(__import__(module, fromlist=[function]), function)
