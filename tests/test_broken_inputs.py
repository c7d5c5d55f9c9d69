"""Broken films, masks, tables, datalists and checkpoints: the sentence, the exit code, and earlier results intact."""

from __future__ import annotations

import json
import os
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from broken import CLASSIFIER, GENERATION, LUNGS, bundle_command, run, write_world
from PIL import Image

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")

Break = Callable[[Path], object]
TRAIN, VALID = "films/train.csv", "films/valid.csv"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The world with earlier results of the programs, in ``done``."""
    world = tmp_path_factory.mktemp("prepared")
    write_world(world)
    for command in (chexpert(world), masks(world)):
        done = run(command, world)
        assert done.code == 0, done.said
    return world


@pytest.fixture
def world(prepared: Path, tmp_path: Path) -> Path:
    shutil.copytree(prepared, tmp_path / "world")
    return tmp_path / "world"


def chexpert(world: Path, **values: object) -> list[str]:
    given = {"dataset_dir": "films", "output": "done/films.json", "check": True, "validation_share": 0.4, **values}
    return ["prepare_chexpert.py", *(f"--{name}={value}" for name, value in given.items())]


def masks(world: Path, **values: object) -> list[str]:
    given = {"csv": "films/index.csv", "classes": "lungs=right_lung+left_lung", "output": "done/masks", **values}
    return [
        "prepare_masks.py",
        *(f"--{name}={value}" for name, value in {"training": 3, "validation": 2, **given}.items()),
    ]


def infer(world: Path, **values: object) -> list[str]:
    return bundle_command(LUNGS, world, **{"dataset_dir": world / "new", **values})


def classify(world: Path, **values: object) -> list[str]:
    given = {"dataset_dir": world / "films", "datalist": world / "done" / "films.json", "max_epochs": 1}
    given |= {"ckpt_dir": world / "out", "checkpoint": world / "out" / "model.pt", **values}
    return bundle_command(CLASSIFIER, world, "train", **given)


def explain(world: Path, **values: object) -> list[str]:
    given = {"dataset_dir": world / "films", "datalist": world / "done" / "films.json", "ig_steps": 2, **values}
    return bundle_command(GENERATION, world, **given)


def edit(name: str, old: str, new: str, count: int = 1) -> Break:
    """Replace text in a file."""

    def change(world: Path) -> None:
        text = (world / name).read_text()
        assert old in text
        (world / name).write_text(text.replace(old, new, count))

    return change


def lines(name: str, change: Callable[[list[str]], list[str]]) -> Break:
    """Change the lines of a file."""

    def apply(world: Path) -> None:
        (world / name).write_text("\n".join(change((world / name).read_text().splitlines())) + "\n")

    return apply


def content(name: str, value: bytes) -> Break:
    return lambda world: (world / name).write_bytes(value)


def cell(name: str, column: str, value: str, row: int = 1) -> Break:
    """Another value in one cell of a table."""

    def apply(table: list[str]) -> list[str]:
        cells = table[row].split(",")
        cells[table[0].split(",").index(column)] = value
        return [*table[:row], ",".join(cells), *table[row + 1 :]]

    return lines(name, apply)


def first(world: Path, table: str, column: str) -> Path:
    """The file that a cell of a table's first row names."""
    header, row = (line.split(",") for line in (world / table).read_text().splitlines()[:2])
    return world / "films" / row[header.index(column)]


def picture(mode: str, size: tuple[int, int]) -> Callable[[Path], None]:
    return lambda path: Image.new(mode, size, 0).save(path)


def in_place_of_the_film(suffix: str, write: Callable[[Path], object]) -> Break:
    """Another film alone in the folder of new ones."""

    def change(world: Path) -> None:
        (world / "new" / "film.png").unlink()
        write(world / "new" / f"film{suffix}")

    return change


def truncated(path: Path) -> None:
    whole = path.parent / "whole.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)).save(whole)
    path.write_bytes(whole.read_bytes()[:1000])
    whole.unlink()


def huge_png(path: Path) -> None:
    """A header of 30,000 x 30,000 pixels and next to nothing behind it."""
    header = struct.pack(">IIBBBBB", 30000, 30000, 8, 0, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")]
    chunks = (struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in parts)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


def not_a_number(path: Path) -> None:
    Image.fromarray(np.full((64, 64), np.nan, np.float32)).save(path)


def volume(path: Path) -> None:
    nib.save(nib.Nifti1Image(np.zeros((16, 16, 5), np.float32), np.eye(4)), path)


class Unexpected:
    """What runs when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("echo unpickled > unpickled.txt",)


def checkpoint(change: Callable[[Path], object]) -> Break:
    return lambda world: change(world / "done" / f"{LUNGS.name}.pt")


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def other_network(world: Path) -> None:
    shutil.copyfile(world / "done" / f"{CLASSIFIER.name}.pt", world / "done" / f"{LUNGS.name}.pt")


def mask_of(world: Path) -> Path:
    return first(world, "films/index.csv", "right_lung")


def film_of(world: Path) -> Path:
    return first(world, "films/index.csv", "image")


def datalist(change: Callable[[dict], object]) -> Break:
    def apply(world: Path) -> None:
        path = world / "done" / "films.json"
        value = json.loads(path.read_text())
        change(value)
        path.write_text(json.dumps(value))

    return apply


def records(section: str, **values: object) -> Break:
    """Other values in the first record of a section."""
    return datalist(lambda content: content[section][0].update(values))


def all_uncertain(content: dict) -> None:
    for record in content["training"]:
        record["label"] = [-1.0] * 14


def nothing(_world: Path) -> None:
    """The input is good; what is asked for is not."""


CASES: dict[str, tuple[Callable[..., list[str]], Break, str]] = {}
