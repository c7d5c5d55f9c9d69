"""``doll`` without a command: help for all or for a group, a sentence for what there is not."""

import pytest

from doll_tools.cli import main


@pytest.mark.parametrize(
    ("words", "status", "shown", "hidden"),
    [
        ([], 0, "doll run", "there is no command"),
        (["--help"], 0, "doll prepare nih", "there is no command"),
        (["prepare", "--help"], 0, "doll prepare nih", "doll run"),
        (["prepare"], 2, "there is no command 'doll prepare'", "doll run"),
        (["nothing", "--help"], 2, "there is no command 'doll nothing --help'", "Traceback"),
    ],
)
def test_help_and_what_there_is_not(words: list[str], status: int, shown: str, hidden: str, capsys) -> None:
    assert main(words) == status
    said = "".join(capsys.readouterr())
    assert shown in said
    assert hidden not in said
