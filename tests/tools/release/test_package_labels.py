"""A data set of labels: checkable, loadable, the same bytes again, and refused when anything is wrong with it."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from doll_monai.data.label_files import write_label
from doll_monai.data.label_store import LabelStore
from doll_monai.findings import FINDINGS, FOREGROUND, IGNORE, finding_index
from doll_monai.utils.errors import InputError
from doll_tools.cli import main
from doll_tools.release.label_folder import without_paths
from doll_tools.release.labels import package_labels

EDEMA = finding_index("Edema")
W, H = 12, 10


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """A finished folder of five labels, as the label generation writes it; the images lie elsewhere."""
    images, output = tmp_path / "images", tmp_path / "labels"
    records = [{"image": str(images / f"train/patient{number:05d}/view1.png")} for number in range(5)]
    provenance = {"checkpoint_sha256": "ab12" * 16, "image_size": [W, H], "checkpoint": "/home/me/model.pt"}
    sections = {"training": records[:3], "validation": records[3:]}
    store = LabelStore(output, images, sections, chunk_size=2, provenance=provenance)
    store.claim()
    label = np.zeros((len(FINDINGS), W, H), dtype=np.uint8)
    label[0], label[EDEMA, :3] = IGNORE, FOREGROUND
    figures = {"probability": 0.75, "n_steps": 24, "agreement": 0.5, "completeness_error": 0.01}
    for number, chunk in enumerate(store.chunks):
        names = [record["image"] for record in chunk]
        rows = [{"image": store.relative(name), "observation": "Edema", "foreground_share": 0.25} for name in names]
        written = {name: (label, np.diag([2.0, 2.0, 1.0, 1.0])) for name in names}
        store.write(number, written, [{**row, **figures} for row in rows], {})
    store.finish()
    for record in records:
        path = Path(record["image"])
        path.parent.mkdir(parents=True)
        Image.new("L", (40, 30), 90).save(path)
    return output


def _bytes(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_only_labels_and_what_describes_them_are_in_it(labels: Path, tmp_path: Path) -> None:
    package_labels(labels, tmp_path / "out", images="synthetic")
    before, after = _bytes(labels), _bytes(tmp_path / "out")
    files = {name for name in before if name.startswith("labels/")}
    assert set(after) == {*files, "README.md", "SHA256SUMS", "dataset.json", "labels.csv", "provenance.json"}
    assert len(files) == 5
    assert all(after[name] == before[name] for name in files)
    # the table may write numbers as they stood, line by line
    assert after["labels.csv"].decode().splitlines() == before["labels.csv"].decode().splitlines()
    assert json.loads(after["dataset.json"]) == json.loads(before["dataset.json"])
    sums = dict(reversed(line.split("  ")) for line in after.pop("SHA256SUMS").decode().splitlines())
    assert sums == {name: hashlib.sha256(content).hexdigest() for name, content in after.items()}


def test_the_same_labels_give_the_same_bytes_wherever_they_lie(labels: Path, tmp_path: Path) -> None:
    package_labels(labels, tmp_path / "one" / "out")
    shutil.copytree(labels, tmp_path / "elsewhere")
    package_labels(tmp_path / "elsewhere", tmp_path / "two")
    assert _bytes(tmp_path / "one" / "out") == _bytes(tmp_path / "two")


def test_no_absolute_path_is_passed_on(labels: Path, tmp_path: Path) -> None:
    (labels / "failures.csv").write_text(
        f"image,reason\ntrain/patient00009/view1.png,The image {tmp_path}/images/x.png cannot be read\n"
    )
    package_labels(labels, tmp_path / "out", images=f"those in {tmp_path}/images")
    for name, content in _bytes(tmp_path / "out").items():
        if not name.endswith(".nii.gz"):
            assert str(tmp_path) not in content.decode(), name
            assert "/home/me" not in content.decode(), name
    assert json.loads((tmp_path / "out" / "provenance.json").read_text())["checkpoint"] == "model.pt"
    assert "The image x.png cannot be read" in (tmp_path / "out" / "failures.csv").read_text()
    assert "1 further images could not be labeled" in (tmp_path / "out" / "README.md").read_text()


def test_the_card_counts_and_says_how_good_the_labels_are(labels: Path, tmp_path: Path) -> None:
    table = tmp_path / "evaluation" / "evaluation.csv"
    table.parent.mkdir()
    table.write_text(f"source,pairs,iou\nconsensus,30,0.2160001\n{tmp_path}/x.pt,30,\n")
    cards = []
    for evaluation in (None, table.parent):
        output = tmp_path / str(len(cards))
        package_labels(labels, output, evaluation=evaluation, name="My labels", images="synthetic images")
        cards.append((output / "README.md").read_text())
        assert cards[-1].startswith("# My labels\n")
        assert "- 5 images: training 3, validation 2; 5 of them with a positive observation" in cards[-1]
        assert "| Edema | 5 | 5 | 0.250 | 0.750 | 0.010 |" in cards[-1]
        assert "| Fracture | 0 | 0 | - | - | - |" in cards[-1]
        assert "ab12" * 16 in cards[-1]
        assert "images: synthetic images" in cards[-1]
    assert ["Not evaluated" in card for card in cards] == [True, False]
    assert "| source | pairs | iou |\n| --- | --- | --- |\n| consensus | 30 | 0.216 |\n| x.pt | 30 |  |\n" in cards[1]
    table.write_text("source\n" + "one\n" * 100)
    for path, words in ((table, "100 rows"), (tmp_path / "none.csv", "does not exist")):
        with pytest.raises(InputError, match=words):
            package_labels(labels, tmp_path / "other", evaluation=path)


def test_the_cards_examples_run(labels: Path, tmp_path: Path, monkeypatch) -> None:
    package_labels(labels, tmp_path / "out")
    monkeypatch.chdir(tmp_path / "out")
    examples = re.findall(r"```python\n(.*?)```", (tmp_path / "out" / "README.md").read_text(), re.DOTALL)
    shapes = []
    for example in examples:
        scope: dict[str, object] = {}
        exec(example.replace("IMAGES", str(tmp_path / "images")), scope)
        shapes.append(tuple(scope["label"].shape))  # type: ignore[attr-defined]
    assert shapes == [(len(FINDINGS), W, H), (W, H, len(FINDINGS))]


def _first(labels: Path) -> Path:
    return labels / "labels/train/patient00000/view1.nii.gz"


def _rewrite(labels: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    label = np.asarray(nib.load(_first(labels)).dataobj).copy()
    _first(labels).write_bytes(gzip.compress(nib.Nifti1Image(change(label), np.eye(4)).to_bytes()))


def _with(value: int, columns: int) -> Callable[[np.ndarray], np.ndarray]:
    def change(label: np.ndarray) -> np.ndarray:
        label[:columns, :, :, EDEMA] = value
        return label

    return change


def _with_text(labels: Path) -> None:
    image = nib.load(_first(labels))
    image.header["descrip"] = b"Jane Doe 1970-01-01"
    nib.save(image, _first(labels))


def _edit(labels: Path, name: str, old: str, new: str) -> None:
    text = (labels / name).read_text()
    assert old in text
    (labels / name).write_text(text.replace(old, new))


MISTAKES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no table yet": (lambda f: (f / "labels.csv").unlink(), "not finished, labels.csv is missing"),
    "label missing": (lambda f: _first(f).unlink(), "1 of 5 labels .* are missing"),
    "label cut off": (lambda f: _first(f).write_bytes(_first(f).read_bytes()[:60]), "cannot be read"),
    "label of another size": (lambda f: _rewrite(f, lambda x: x[1:]), r"uint8 \(11, 10, 1, 14\) instead of"),
    "image as a label": (lambda f: _rewrite(f, _with(77, 4)), "other values than 0, 1 and 255"),
    "label of another run": (lambda f: _rewrite(f, _with(FOREGROUND, 6)), "0.5000 of its pixels in Edema.*0.2500"),
    "text in a label": (_with_text, "carries more than a label"),
    "image slipped in": (lambda f: Image.new("L", (9, 9)).save(f / "labels/train/view1.png"), "view1.png"),
    "image beside": (lambda f: Image.new("L", (9, 9)).save(f / "image.png"), "image.png; move them elsewhere"),
    "NIfTI slipped in": (lambda f: write_label(f / "labels/x.nii.gz", np.zeros((14, W, H))), "x.nii.gz"),
    "link": (lambda f: (f / "labels" / "y.nii.gz").symlink_to(_first(f)), "is a link"),
    "table of others": (lambda f: _edit(f, "labels.csv", "00001", "00077"), "line 3: .*patient00077.* is unknown"),
    "twice": (lambda f: _edit(f, "labels.csv", "patient00001", "patient00000"), "stands there twice"),
    "no observation": (lambda f: _edit(f, "labels.csv", "Edema", "Edemas"), "Edemas of .* is unknown"),
    "column too many": (lambda f: _edit(f, "labels.csv", "n_steps", "n_steps,name"), "cells for|the column name"),
    "path in the table": (lambda f: _edit(f, "labels.csv", ",24,", ",/home/me,"), "n_steps '/home/me' is no number"),
    "share that is no number": (lambda f: _edit(f, "labels.csv", ",0.25", ",nan"), "foreground_share 'nan' is no"),
    "absolute image": (lambda f: _edit(f, "dataset.json", '"train/', '"/data/train/'), "leads out of the data set"),
    "label elsewhere": (lambda f: _edit(f, "dataset.json", '"labels/train', '"../labels/train'), "leads out"),
    "label is an image": (lambda f: _edit(f, "dataset.json", "view1.nii.gz", "view1.png"), "is no labels"),
    "other channels": (lambda f: _edit(f, "dataset.json", '"5": "Edema"', '"5": "Heartache"'), "other channels"),
    "no hash": (lambda f: _edit(f, "provenance.json", "checkpoint_sha256", "hash"), "does not say"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_folder_with_a_mistake_is_refused_and_nothing_is_left_behind(mistake: str, labels: Path, tmp_path: Path):
    spoil, words = MISTAKES[mistake]
    spoil(labels)
    before = set(tmp_path.iterdir())
    with pytest.raises(InputError, match=words):
        package_labels(labels, tmp_path / "out")
    assert set(tmp_path.iterdir()) == before


def test_an_output_that_is_there_is_left_alone(labels: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    package_labels(labels, tmp_path / "out")
    before = _bytes(tmp_path)
    places = {labels: "is there already", tmp_path / "out": "is there already", labels / "out": "lies in the folder of"}
    for output, words in places.items():
        with pytest.raises(InputError, match=words):
            package_labels(labels, output)
    for folder in ("images", "nothing"):
        with pytest.raises(InputError, match="no folder of labels"):
            package_labels(tmp_path / folder, tmp_path / "other")
    assert _bytes(tmp_path) == before


def test_the_command_packages(labels: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    command = ["package", "labels", "--labels", str(labels), "--output", str(tmp_path / "out")]
    assert [main(command), main(command)] == [0, 1]
    said = capfd.readouterr()
    assert "5 labels, checked; no image is included" in said.out
    assert "is there already" in said.err


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("/home/my name/model.pt", "model.pt"),
        ("/home/me/folder/", "folder"),
        (r"C:\Users\me\model.pt", "model.pt"),
        (r"\\server\share\model.pt", "model.pt"),
        ("~/models/model.pt", "model.pt"),
        ("file:///home/me/model.pt", "model.pt"),
        ("sqlite:////home/me/runs.db", "runs.db"),
        ("checkpoint=/home/me/model.pt, device 'cuda:0'", "checkpoint=model.pt, device 'cuda:0'"),
        ("train/patient00001/view1.png", "train/patient00001/view1.png"),
        ("https://example.org/a/b", "https://example.org/a/b"),
        ("1/2 of an image, and / or none", "1/2 of an image, and / or none"),
        ({"/a/b": ["/c/d", 3, None, True]}, {"b": ["d", 3, None, True]}),
    ],
)
def test_only_absolute_paths_are_cut(value: object, expected: object) -> None:
    assert without_paths(value) == expected
