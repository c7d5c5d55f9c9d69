"""Broken images, masks, tables, datalists and checkpoints: the sentence, the exit code, and earlier results intact."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image

from broken import CLASSIFIER, GENERATION, LUNGS, bundle_command, digests, run, write_world
from doll_monai.utils.folder_lock import lock_folder

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")

Break = Callable[[Path], object]
TRAIN, VALID = "images/train.csv", "images/valid.csv"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The world with earlier results of the programs, in ``done``."""
    world = tmp_path_factory.mktemp("prepared")
    write_world(world)
    trained = {"ckpt_dir": "done/training", "datalist": "done/images.json"}
    labeled = explain(world, output_dir="done/labels")
    for command in (chexpert(world), masks(world), classify(world, **trained), labeled):
        done = run(command, world)
        assert done.code == 0, done.said
    return world


@pytest.fixture
def world(prepared: Path, tmp_path: Path) -> Path:
    shutil.copytree(prepared, tmp_path / "world")
    return tmp_path / "world"


def chexpert(world: Path, **values: object) -> list[str]:
    given = {"dataset_dir": "images", "output": "done/images.json", "validation_share": 0.4, **values}
    return ["doll", "prepare", "chexpert", *(f"--{name}={value}" for name, value in given.items())]


def masks(world: Path, **values: object) -> list[str]:
    given = {"csv": "images/index.csv", "classes": "lungs=right_lung+left_lung", "output": "done/masks"}
    given |= {"training": 3, "validation": 2, **values}
    return ["doll", "prepare", "masks", *(f"--{name}={value}" for name, value in given.items())]


def infer(world: Path, **values: object) -> list[str]:
    return bundle_command(LUNGS, world, **{"dataset_dir": world / "new", **values})


def classify(world: Path, **values: object) -> list[str]:
    return bundle_command(CLASSIFIER, world, "train", **{"datalist": world / "done" / "images.json", **values})


def explain(world: Path, **values: object) -> list[str]:
    return bundle_command(GENERATION, world, **{"datalist": world / "done" / "images.json", **values})


def check(_world: Path, **values: object) -> list[str]:
    return ["doll", "check", str(CLASSIFIER), *(f"--{name}={value}" for name, value in values.items())]


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
    return world / "images" / row[header.index(column)]


def picture(mode: str, size: tuple[int, int]) -> Callable[[Path], None]:
    return lambda path: Image.new(mode, size, 0).save(path)


def in_place_of_the_image(suffix: str, write: Callable[[Path], object]) -> Break:
    """Another image alone in the folder of new ones."""

    def change(world: Path) -> None:
        (world / "new" / "image.png").unlink()
        write(world / "new" / f"image{suffix}")

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
    return first(world, "images/index.csv", "right_lung")


def image_of(world: Path) -> Path:
    return first(world, "images/index.csv", "image")


def datalist(change: Callable[[dict], object]) -> Break:
    def apply(world: Path) -> None:
        path = world / "done" / "images.json"
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


def validation_text(world: Path) -> None:
    image = json.loads((world / "done" / "images.json").read_text())["validation"][0]["image"]
    (world / "images" / image).write_text("no picture")


def patient_in_both(world: Path) -> None:
    """An image of a patient of valid.csv among those of train.csv."""
    row = (world / VALID).read_text().splitlines()[1]
    with (world / TRAIN).open("a") as file:
        file.write(row + "\n")


SENTENCES: dict[str, str] = json.loads((Path(__file__).resolve().parents[2] / "broken_inputs.json").read_text())
"""The sentence that each case must end with; ``{world}`` is the folder."""
CASES: dict[str, tuple[Callable[..., list[str]], Break]] = {
    "no table": (chexpert, lambda world: (world / TRAIN).unlink()),
    "an empty table": (chexpert, content(TRAIN, b"")),
    "a table without rows": (chexpert, lines(TRAIN, lambda table: table[:1])),
    "a column is missing": (chexpert, lines(TRAIN, lambda table: [line.rpartition(",")[0] for line in table])),
    "a column has another name": (chexpert, edit(TRAIN, "Lung Opacity", "Opacity")),
    "a column is there twice": (
        chexpert,
        lines(TRAIN, lambda table: [table[0] + ",Edema", *(line + "," for line in table[1:])]),
    ),
    "a row is too short": (chexpert, lines(TRAIN, lambda table: [*table[:2], table[2].rpartition(",")[0], *table[3:]])),
    "a label of 1.5": (chexpert, cell(TRAIN, "Edema", "1.5")),
    "a label in words": (chexpert, cell(TRAIN, "Edema", "yes")),
    "a label that is no number": (chexpert, cell(TRAIN, "Edema", "nan")),
    "an unknown view": (chexpert, cell(TRAIN, "Frontal/Lateral", "Oblique")),
    "no frontal image": (chexpert, edit(TRAIN, "Frontal,", "Lateral,", -1)),
    "an absolute path": (chexpert, cell(TRAIN, "Path", "/etc/passwd")),
    "a path that climbs out": (chexpert, cell(TRAIN, "Path", "images/../../patient00001/a.jpg")),
    "a blank path": (chexpert, cell(TRAIN, "Path", "")),
    "a path without patient": (chexpert, cell(TRAIN, "Path", "images/a.jpg")),
    "an image that is missing": (
        chexpert,
        cell(TRAIN, "Path", "images/train/patient09999/study1/view1_frontal.jpg", 2),
    ),
    "an image that is there twice": (chexpert, lines(TRAIN, lambda table: [*table, table[1]])),
    "a patient in both tables": (chexpert, patient_in_both),
    "another encoding": (chexpert, content(TRAIN, "Path,Größe\n".encode("latin-1"))),
    "a quote that does not end": (chexpert, lines(TRAIN, lambda table: [table[0], '"' + table[1], *table[2:]])),
    "zero bytes in a table": (chexpert, lines(TRAIN, lambda table: [table[0], table[1] + "\0", *table[2:]])),
    "a share of 2": (partial(chexpert, validation_share=2), nothing),
    "an option that does not exist": (partial(chexpert, shuffle=True), nothing),
    "an output folder that is a file": (partial(chexpert, output="done/images.json/dataset.json"), nothing),
    "a mask of another size": (masks, lambda world: picture("L", (20, 30))(mask_of(world))),
    "a mask of class numbers": (masks, lambda world: Image.new("L", (64, 64), 3).save(mask_of(world))),
    "a mask of floating point": (
        masks,
        lambda world: Image.new("F", (64, 64), 0.5).save(mask_of(world), format="TIFF"),
    ),
    "a mask that is missing": (masks, lambda world: mask_of(world).unlink()),
    "a mask that is truncated": (masks, lambda world: half(mask_of(world))),
    "a mask without bytes": (masks, lambda world: mask_of(world).write_bytes(b"")),
    "an image of masks that is text": (masks, lambda world: image_of(world).write_text("no picture")),
    "an image in two rows": (masks, lines("images/index.csv", lambda table: [*table, table[1]])),
    "a patient without name": (masks, cell("images/index.csv", "patient", "")),
    "a column of masks that is not there": (partial(masks, classes="lungs=left+right"), nothing),
    "more images than there are": (partial(masks, training=50), nothing),
    "classes that cannot be read": (partial(masks, classes="a=b=c"), nothing),
    "no folder of images": (partial(infer, dataset_dir="nowhere"), nothing),
    "a folder without images": (infer, lambda world: (world / "new" / "image.png").unlink()),
    "a truncated JPEG": (infer, in_place_of_the_image(".jpg", truncated)),
    "an image without bytes": (infer, in_place_of_the_image(".png", Path.touch)),
    "text named PNG": (infer, in_place_of_the_image(".png", lambda path: path.write_text("no picture"))),
    "text named DICOM": (infer, in_place_of_the_image(".dcm", lambda path: path.write_text("no picture"))),
    "text named NIfTI": (infer, in_place_of_the_image(".nii.gz", lambda path: path.write_text("no picture"))),
    "one pixel": (infer, in_place_of_the_image(".png", picture("L", (1, 1)))),
    "a header of 30,000 x 30,000 pixels": (infer, in_place_of_the_image(".png", huge_png)),
    "values that are no numbers": (infer, in_place_of_the_image(".tif", not_a_number)),
    "a volume": (infer, in_place_of_the_image(".nii.gz", volume)),
    "no checkpoint": (infer, checkpoint(Path.unlink)),
    "half a checkpoint": (infer, checkpoint(half)),
    "a checkpoint without bytes": (infer, checkpoint(lambda path: path.write_bytes(b""))),
    "a checkpoint of another network": (infer, other_network),
    "a checkpoint that runs something": (infer, checkpoint(lambda path: path.write_bytes(pickle.dumps(Unexpected())))),
    "a checkpoint of a list": (infer, checkpoint(lambda path: torch.save([1, 2], path))),
    "a datalist that is no JSON": (classify, content("done/images.json", b"{")),
    "a datalist that is a list": (classify, content("done/images.json", b"[]")),
    "no training images": (classify, datalist(lambda content: content.pop("training"))),
    "a record without image": (classify, datalist(lambda content: content["training"][0].pop("image"))),
    "an image that climbs out": (classify, records("training", image="../a.png")),
    "an image that is not there": (classify, records("training", image="gone.png")),
    "an image that is not there, in a data loader's process": (
        partial(classify, num_workers=1),
        records("training", image="gone.png"),
    ),
    "a validation image that is text": (classify, validation_text),
    "thirteen labels": (classify, records("training", label=[0.0] * 13)),
    "a label of 2 in a datalist": (classify, records("training", label=[2.0] + [0.0] * 13)),
    "labels that are a word": (classify, records("training", label=["yes"] + [0.0] * 13)),
    "labels that are text": (classify, records("training", label="labels.nii.gz")),
    "nothing but uncertain labels": (classify, datalist(all_uncertain)),
    "the folder of other images": (partial(classify, dataset_dir="new"), nothing),
    "a value of a wrong kind": (partial(check, learning_rate="fast"), nothing),
    "a value that does not exist": (partial(check, lerning_rate=0.1), nothing),
    "a tuning that does not exist": (partial(infer, **{"network_def::tuning": "adaptor"}), nothing),
    "a precision that does not exist": (partial(infer, precision="float12"), nothing),
    "a rule of quadrature that does not exist": (partial(explain, ig_method="simpson"), nothing),
    "labels of other values in the folder": (partial(explain, output_dir="done/labels", ig_steps=3), nothing),
    "a training of other values in the folder": (
        partial(classify, ckpt_dir="done/training", datalist="done/images.json", learning_rate=0.1),
        nothing,
    ),
    "a folder that is a file": (partial(explain, output_dir="done/images.json"), nothing),
}


def test_every_case_has_its_sentence() -> None:
    assert len(CASES) >= 40
    assert list(SENTENCES) == list(CASES)


@pytest.mark.parametrize("name", CASES)
def test_one_sentence_and_earlier_results_intact(name: str, world: Path) -> None:
    command, broken = CASES[name]
    broken(world)
    before = digests(world)
    done = run(command(world), world)
    assert done.code == 1, done.said
    assert done.sentence == f"Error: {SENTENCES[name].replace('{world}', str(world))}"
    after = digests(world)
    assert {file: after.get(file) for file in before} == before
    assert not [file for file in after if file.endswith((".tmp", "unpickled.txt"))]


def rewritten(change: Callable[[bytes], bytes]) -> Break:
    return lambda world: (world / TRAIN).write_bytes(change((world / TRAIN).read_bytes()))


def cells(change: Callable[[list[str]], list[str]]) -> Break:
    return lines(TRAIN, lambda table: [",".join(change(line.split(","))) for line in table])


ODD_BUT_GOOD: dict[str, tuple[Callable[..., list[str]], Break]] = {
    "a byte order mark": (chexpert, rewritten(lambda table: b"\xef\xbb\xbf" + table)),
    "lines that end as on Windows": (chexpert, rewritten(lambda table: table.replace(b"\n", b"\r\n"))),
    "quotes around cells": (chexpert, cells(lambda row: [f'"{value}"' for value in row])),
    "blank rows": (chexpert, lines(TRAIN, lambda table: [*table[:3], "", *table[3:], "", ""])),
    "columns in another order": (chexpert, cells(lambda row: row[::-1])),
    "labels without a point": (chexpert, edit(TRAIN, "1.0", "1", -1)),
}


@pytest.mark.parametrize("name", ODD_BUT_GOOD)
def test_what_is_odd_but_good_gives_the_same(name: str, world: Path) -> None:
    command, odd = ODD_BUT_GOOD[name]
    before = digests(world / "done")
    odd(world)
    done = run(command(world), world)
    assert done.code == 0, done.said
    assert digests(world / "done") == before


def test_names_of_any_alphabet_are_good(world: Path) -> None:
    (world / "new" / "image.png").rename(world / "new" / "肺 Länge 1.png")
    done = run(infer(world), world)
    assert done.code == 0, done.said
    assert (world / "out" / "肺 Länge 1_lungs.nii.gz").is_file()


def test_a_black_image_is_a_image(world: Path) -> None:
    picture("L", (64, 64))(world / "new" / "image.png")
    done = run(infer(world), world)
    assert done.code == 0, done.said
    assert set(np.unique(nib.load(world / "out" / "image_lungs.nii.gz").get_fdata())) <= {0.0, 1.0}


def test_a_full_disk_is_one_sentence_and_leaves_what_was_there(world: Path) -> None:
    before = digests(world / "done")
    done = run(masks(world, training=4), world, file_size=200)
    assert done.code == 1
    assert done.sentence.endswith("File too large; free some space, then the same command continues.")
    after = digests(world / "done")
    assert {file: after.get(file) for file in before} == before
    assert not [file for file in after if file.endswith(".tmp")]


def test_a_second_training_stays_out_of_the_folder(world: Path) -> None:
    with lock_folder(world / "out", "training"):
        done = run(classify(world), world)
    assert (done.code, done.sentence) == (
        1,
        f"Error: Another training is at work in {world / 'out'}; wait for it or give another folder.",
    )
    assert run(classify(world), world).code == 0


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_one_sentence(world: Path) -> None:
    (world / "done").chmod(0o500)
    done = run(chexpert(world, output="done/other.json"), world)
    (world / "done").chmod(0o700)
    assert (done.code, done.sentence) == (1, "Error: done/other.json cannot be written: Permission denied.")
