"""The synthetic images of the third task: each shows an infection."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_figures import write_csv, write_json

from doll_monai.utils.errors import InputError
from doll_tools.figures import infection_images
from doll_tools.figures.infection_images import write_infection_index


def make_phantom(folder: Path, finding: str = "Pneumonia") -> None:
    rows = [[f"train/{name}.jpg", name, f"masks/{name}.png"] for name in "abc"]
    write_csv(folder / "images/index.csv", ["image", "patient", "infection"], rows)
    places = [["images/train/a.jpg", "Edema"], ["images/train/b.jpg", finding], ["images/train/c.jpg", "Edema"]]
    write_csv(folder / "images/truth.csv", ["Path", "finding"], places)
    write_json(folder / "images/phantom.json", {"seed": 2})


def test_only_images_with_an_infection_are_listed(tmp_path: Path) -> None:
    make_phantom(tmp_path)
    assert write_infection_index(tmp_path) == 1
    lines = (tmp_path / "index.csv").read_text().splitlines()
    assert lines == ["image,patient,infection", "images/train/b.jpg,b,images/masks/b.png"]
    assert (tmp_path / "phantom.json").is_file()


def test_a_phantom_without_an_infection_ends_with_a_sentence(tmp_path: Path) -> None:
    make_phantom(tmp_path, "Edema")
    with pytest.raises(InputError, match="shows an infection"):
        write_infection_index(tmp_path)


def test_a_phantom_is_drawn_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def draw(command: list[str]) -> None:
        commands.append(command)
        make_phantom(tmp_path)

    monkeypatch.setattr(infection_images, "run_printed", draw)
    for _ in range(2):
        assert infection_images.infection_images(tmp_path) == tmp_path
    assert len(commands) == 1
    assert commands[0][:5] == ["python", "-m", "doll_tools.phantom", "--output", str(tmp_path / "images")]
