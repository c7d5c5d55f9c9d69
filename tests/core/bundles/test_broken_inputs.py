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
Command = Callable[..., list[str]]
TRAIN, INDEX = "images/train.csv", "images/index.csv"
TRAINED = {"ckpt_dir": "done/training", "datalist": "done/images.json"}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The world with earlier results of the programs, in ``done``."""
    world = tmp_path_factory.mktemp("prepared")
    write_world(world)
    labeled = explain(world, output_dir="done/labels")
    for command in (chexpert(world), masks(world), classify(world, **TRAINED), labeled):
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


def text(name: str, change: Callable[[str], str]) -> Break:
    """Change the text of a file."""
    return lambda world: (world / name).write_text(change((world / name).read_text()))


def lines(name: str, change: Callable[[list[str]], list[str]]) -> Break:
    """Change the lines of a file."""
    return text(name, lambda old: "\n".join(change(old.splitlines())) + "\n")


def cell(name: str, column: str, value: str, row: int = 1) -> Break:
    """Another value in one cell of a table."""

    def apply(table: list[str]) -> list[str]:
        cells = table[row].split(",")
        cells[table[0].split(",").index(column)] = value
        return [*table[:row], ",".join(cells), *table[row + 1 :]]

    return lines(name, apply)


def named(column: str, write: Callable[[Path], object]) -> Break:
    """Break the file that the first row of the table of masks names."""

    def apply(world: Path) -> None:
        header, row = (line.split(",") for line in (world / INDEX).read_text().splitlines()[:2])
        write(world / "images" / row[header.index(column)])

    return apply


def image(suffix: str, write: Callable[[Path], object]) -> Break:
    """Another image alone in the folder of new ones."""

    def apply(world: Path) -> None:
        (world / "new" / "image.png").unlink()
        write(world / "new" / f"image{suffix}")

    return apply


def checkpoint(change: Callable[[Path], object]) -> Break:
    return lambda world: change(world / "done" / f"{LUNGS.name}.pt")


def records(section: str, change: Callable[[list[dict]], object]) -> Break:
    """Change the records of a section of the datalist."""

    def apply(old: str) -> str:
        content = json.loads(old)
        change(content[section])
        return json.dumps({name: listed for name, listed in content.items() if listed})

    return text("done/images.json", apply)


def first(section: str = "training", **values: object) -> Break:
    """Other values in the first record of a section of the datalist."""
    return records(section, lambda listed: listed[0].update(values))


def words(path: Path) -> None:
    path.write_text("no picture")


def empty(path: Path) -> None:
    path.write_bytes(b"")


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def jpeg(path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:1000])


def huge_png(path: Path) -> None:
    """A header of 30,000 x 30,000 pixels and next to nothing behind it."""
    header = struct.pack(">IIBBBBB", 30000, 30000, 8, 0, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")]
    chunks = (struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in parts)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


class Unexpected:
    """What runs when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("echo unpickled > unpickled.txt",)


def validation_text(world: Path) -> None:
    record = json.loads((world / "done" / "images.json").read_text())["validation"][0]
    words(world / "images" / record["image"])


def patient_in_both(world: Path) -> None:
    """An image of a patient of valid.csv among those of train.csv."""
    row = (world / "images" / "valid.csv").read_text().splitlines()[1]
    lines(TRAIN, lambda table: [*table, row])(world)


SENTENCES: dict[str, str] = json.loads((Path(__file__).resolve().parents[2] / "broken_inputs.json").read_text())
"""The sentence that each case must end with; ``{world}`` is the folder."""
BROKEN: dict[Command, dict[str, Break]] = {
    chexpert: {
        "no table": lambda world: (world / TRAIN).unlink(),
        "an empty table": lambda world: empty(world / TRAIN),
        "a table without rows": lines(TRAIN, lambda table: table[:1]),
        "a column is missing": lines(TRAIN, lambda table: [line.rpartition(",")[0] for line in table]),
        "a column has another name": text(TRAIN, lambda table: table.replace("Lung Opacity", "Opacity")),
        "a column is there twice": lines(TRAIN, lambda t: [t[0] + ",Edema", *(line + "," for line in t[1:])]),
        "a row is too short": lines(TRAIN, lambda table: [*table[:2], table[2].rpartition(",")[0], *table[3:]]),
        "a label of 1.5": cell(TRAIN, "Edema", "1.5"),
        "a label in words": cell(TRAIN, "Edema", "yes"),
        "a label that is no number": cell(TRAIN, "Edema", "nan"),
        "an unknown view": cell(TRAIN, "Frontal/Lateral", "Oblique"),
        "no frontal image": text(TRAIN, lambda table: table.replace("Frontal,", "Lateral,")),
        "an absolute path": cell(TRAIN, "Path", "/etc/passwd"),
        "a path that climbs out": cell(TRAIN, "Path", "images/../../patient00001/a.jpg"),
        "a blank path": cell(TRAIN, "Path", ""),
        "a path without patient": cell(TRAIN, "Path", "images/a.jpg"),
        "an image that is missing": cell(TRAIN, "Path", "images/train/patient09999/study1/view1_frontal.jpg", 2),
        "an image that is there twice": lines(TRAIN, lambda table: [*table, table[1]]),
        "a patient in both tables": patient_in_both,
        "another encoding": lambda world: (world / TRAIN).write_text("Path,Größe\n", encoding="latin-1"),
        "a quote that does not end": lines(TRAIN, lambda table: [table[0], '"' + table[1], *table[2:]]),
        "zero bytes in a table": lines(TRAIN, lambda table: [table[0], table[1] + "\0", *table[2:]]),
    },
    masks: {
        "a mask of another size": named("right_lung", Image.new("L", (20, 30)).save),
        "a mask of class numbers": named("right_lung", Image.new("L", (64, 64), 3).save),
        "a mask of floating point": named("right_lung", partial(Image.new("F", (64, 64), 0.5).save, format="TIFF")),
        "a mask that is missing": named("right_lung", Path.unlink),
        "a mask that is truncated": named("right_lung", half),
        "a mask without bytes": named("right_lung", empty),
        "an image of masks that is text": named("image", words),
        "an image in two rows": lines(INDEX, lambda table: [*table, table[1]]),
        "a patient without name": cell(INDEX, "patient", ""),
    },
    infer: {
        "a folder without images": lambda world: (world / "new" / "image.png").unlink(),
        "a truncated JPEG": image(".jpg", jpeg),
        "an image without bytes": image(".png", empty),
        "text named PNG": image(".png", words),
        "text named DICOM": image(".dcm", words),
        "text named NIfTI": image(".nii.gz", words),
        "one pixel": image(".png", Image.new("L", (1, 1)).save),
        "a header of 30,000 x 30,000 pixels": image(".png", huge_png),
        "values that are no numbers": image(".tif", Image.fromarray(np.full((64, 64), np.nan, np.float32)).save),
        "a volume": image(".nii.gz", partial(nib.save, nib.Nifti1Image(np.zeros((16, 16, 5), np.float32), np.eye(4)))),
        "no checkpoint": checkpoint(Path.unlink),
        "half a checkpoint": checkpoint(half),
        "a checkpoint without bytes": checkpoint(empty),
        "a checkpoint of another network": checkpoint(
            lambda path: shutil.copyfile(path.with_name(f"{CLASSIFIER.name}.pt"), path)
        ),
        "a checkpoint that runs something": checkpoint(lambda path: path.write_bytes(pickle.dumps(Unexpected()))),
        "a checkpoint of a list": checkpoint(partial(torch.save, [1, 2])),
    },
    classify: {
        "a datalist that is no JSON": text("done/images.json", lambda _: "{"),
        "a datalist that is a list": text("done/images.json", lambda _: "[]"),
        "no training images": records("training", list.clear),
        "a record without image": records("training", lambda listed: listed[0].pop("image")),
        "an image that climbs out": first(image="../a.png"),
        "an image that is not there": first(image="gone.png"),
        "a validation image that is text": validation_text,
        "thirteen labels": first(label=[0.0] * 13),
        "a label of 2 in a datalist": first(label=[2.0] + [0.0] * 13),
        "labels that are a word": first(label=["yes"] + [0.0] * 13),
        "labels that are text": first(label="labels.nii.gz"),
        "nothing but uncertain labels": records("training", lambda all_: [r.update(label=[-1.0] * 14) for r in all_]),
    },
    partial(classify, num_workers=1): {
        "an image that is not there, in a data loader's process": first(image="gone.png"),
    },
}
"""What is wrong with a command's input."""
ASKED: dict[str, Command] = {
    "a share of 2": partial(chexpert, validation_share=2),
    "an option that does not exist": partial(chexpert, shuffle=True),
    "an output folder that is a file": partial(chexpert, output="done/images.json/dataset.json"),
    "a column of masks that is not there": partial(masks, classes="lungs=left+right"),
    "more images than there are": partial(masks, training=50),
    "classes that cannot be read": partial(masks, classes="a=b=c"),
    "no folder of images": partial(infer, dataset_dir="nowhere"),
    "the folder of other images": partial(classify, dataset_dir="new"),
    "a value of a wrong kind": partial(check, learning_rate="fast"),
    "a value that does not exist": partial(check, lerning_rate=0.1),
    "a tuning that does not exist": partial(infer, **{"network_def::tuning": "adaptor"}),
    "a precision that does not exist": partial(infer, precision="float12"),
    "a rule of quadrature that does not exist": partial(explain, ig_method="simpson"),
    "labels of other values in the folder": partial(explain, output_dir="done/labels", ig_steps=3),
    "a training of other values in the folder": partial(classify, **TRAINED, learning_rate=0.1),
    "a folder that is a file": partial(explain, output_dir="done/images.json"),
}
"""The input is good; what is asked for is not."""
CASES: dict[str, tuple[Command, Break]] = {
    **{name: (command, change) for command, changes in BROKEN.items() for name, change in changes.items()},
    **{name: (command, lambda _world: None) for name, command in ASKED.items()},
}


def test_every_case_has_its_sentence() -> None:
    assert len(CASES) >= 70
    assert SENTENCES.keys() == CASES.keys()


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


def cells(change: Callable[[list[str]], list[str]]) -> Break:
    return lines(TRAIN, lambda table: [",".join(change(line.split(","))) for line in table])


ODD_BUT_GOOD: dict[str, Break] = {
    "a byte order mark": text(TRAIN, lambda table: "\ufeff" + table),
    "lines that end as on Windows": lambda world: (world / TRAIN).write_text(
        (world / TRAIN).read_text(), newline="\r\n"
    ),
    "quotes around cells": cells(lambda row: [f'"{value}"' for value in row]),
    "blank rows": lines(TRAIN, lambda table: [*table[:3], "", *table[3:], "", ""]),
    "columns in another order": cells(lambda row: row[::-1]),
    "labels without a point": text(TRAIN, lambda table: table.replace("1.0", "1")),
}


@pytest.mark.parametrize("name", ODD_BUT_GOOD)
def test_what_is_odd_but_good_gives_the_same(name: str, world: Path) -> None:
    before = digests(world / "done")
    ODD_BUT_GOOD[name](world)
    done = run(chexpert(world), world)
    assert done.code == 0, done.said
    assert digests(world / "done") == before


def test_names_of_any_alphabet_are_good(world: Path) -> None:
    (world / "new" / "image.png").rename(world / "new" / "肺 Länge 1.png")
    done = run(infer(world), world)
    assert done.code == 0, done.said
    assert (world / "out" / "肺 Länge 1_lungs.nii.gz").is_file()


def test_a_black_image_is_an_image(world: Path) -> None:
    Image.new("L", (64, 64)).save(world / "new" / "image.png")
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
