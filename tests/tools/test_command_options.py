"""Values of options: of the type that the function declares, or refused before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from doll_tools.cli import main

EVALUATE = "evaluate --chexpert=. --checkpoint=model.pt --output=out"
SEGMENT = "segment --images=. --output=out --checkpoint=model.pt"


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (f"{EVALUATE} --resamples=abc", "--resamples must be a whole number, not 'abc'"),
        (f"{EVALUATE} --resamples=1e3", "--resamples must be a whole number, not '1e3'"),
        ("prepare folder --dataset_dir=. --output=out --seed=x", "--seed must be a whole number, not 'x'"),
        ("prepare folder --dataset_dir=. --output=out --validation_share=x", "--validation_share must be a number"),
        ("demo --quiet=perhaps", "--quiet must be true or false, not 'perhaps'"),
        (f"{SEGMENT} --image_size=abc", "--image_size must be whole numbers above 0, 2 at the most, not abc"),
        (f"{SEGMENT} --image_size=[0,0]", "--image_size must be whole numbers above 0"),
        (f"{SEGMENT} --image_size=[9,9,9]", "--image_size must be whole numbers above 0"),
        (f"{SEGMENT} --batch_size=abc", "--batch_size must be whole numbers above 0, 1 at the most, not abc"),
        (f"{SEGMENT} --batch_size=0", "--batch_size must be whole numbers above 0"),
        (f"{SEGMENT} --batch_size=1.5", "--batch_size must be whole numbers above 0"),
    ],
)
def test_a_value_of_another_type_is_one_sentence(
    command: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.pt").touch()
    assert main(command.split()) == 1
    assert f"Error: {sentence}" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]
