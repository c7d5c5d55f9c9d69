"""CheXpert in the forms in which it is distributed, and CheXlocalize's masks and points as its truth."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from preparing import picture, read_datalist, run_program, tree

from doll_monai.data.ground_truth import GroundTruth
from doll_monai.findings import FINDINGS, finding_index
from doll_monai.utils.errors import InputError
from doll_tools.prepare.chexlocalize import truth_files
from doll_tools.prepare.chexpert_release import prepare

HEADER = ["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *FINDINGS]
BATCHES = {"valid": "CheXpert-v1.0 batch 1 (validate & csv)/valid"}
for number in range(30):
    BATCHES[f"patient{number:05d}"] = f"CheXpert-v1.0 batch {2 + number % 3} (train {1 + number % 3})"


def table(path: Path, images: list[str], *, views: bool = True) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER if views else ["Path", *sorted(FINDINGS)])
        for image in images:
            view = ["Male", "60", "Lateral" if "lateral" in image else "Frontal", "AP"] if views else []
            labels = ["1.0", "-1.0", "0.0", *[""] * 11] if views else ["1"] + ["0"] * 13
            writer.writerow([image, *view, *labels])


def small(folder: Path) -> Path:
    """CheXpert-v1.0-small: 30 patients in train, each with a lateral image too, and 3 in valid."""
    train = [
        f"CheXpert-v1.0-small/train/patient{patient:05d}/study1/{view}.jpg"
        for patient in range(30)
        for view in ("view1_frontal", "view2_lateral")
    ]
    valid = [f"CheXpert-v1.0-small/valid/patient{patient:05d}/study1/view1_frontal.jpg" for patient in range(90, 93)]
    table(folder / "train.csv", train)
    table(folder / "valid.csv", valid)
    for image in [*train, *valid]:
        picture(folder / image.partition("/")[2])
    return folder


def in_batches(folder: Path) -> Path:
    """The full set's four archives, each unpacked to a folder of its name."""
    train = [f"CheXpert-v1.0/train/patient{patient:05d}/study1/view1_frontal.jpg" for patient in range(30)]
    valid = [f"CheXpert-v1.0/valid/patient{patient:05d}/study1/view1_frontal.jpg" for patient in range(90, 93)]
    first = folder / "CheXpert-v1.0 batch 1 (validate & csv)"
    table(first / "train.csv", train)
    table(first / "valid.csv", valid)
    for image in valid:
        picture(first / image.partition("/")[2])
    for image in train:
        patient, rest = image.split("/", 2)[2].split("/", 1)
        picture(folder / BATCHES[patient] / patient / rest)
    return folder


NAMES = ("patient00091_study1_view1_frontal", "patient00092_study1_view1_frontal")
LEFT, EMPTY = {"size": [4, 8], "counts": "0`0`0"}, {"size": [4, 8], "counts": "P1"}
"""Masks of 4 rows and 8 columns: the left half, and nothing."""


def localized(folder: Path) -> Path:
    """CheXlocalize's files: masks of validation and test, most of them empty, and points of test."""
    folder.mkdir(parents=True)
    val = {NAMES[0]: {"Airspace Opacity": LEFT, "Edema": EMPTY}, "patient00001_study1_view2_lateral": {"Edema": LEFT}}
    (folder / "gt_segmentations_val.json").write_text(json.dumps(val))
    (folder / "gt_segmentations_test.json").write_text(json.dumps({NAMES[1]: {"Edema": LEFT}}))
    points = {NAMES[1]: {"img_size": [4, 8], "Edema": [[1, 2], [6.5, 0]]}, "patient1_study1_view1_frontal": {"X": []}}
    (folder / "hb_salient_pt_test.json").write_text(json.dumps(points))
    return folder


def test_the_small_set_is_prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    folder, out = small(tmp_path / "CheXpert-v1.0-small"), tmp_path / "out"
    before = tree(folder)
    run_program(monkeypatch, "prepare_chexpert", "--dataset_dir", folder, "--output", out)
    assert tree(folder) == before
    assert set(tree(out)) == {"dataset.json"}
    content = read_datalist(out / "dataset.json")
    assert len(content["training"]) + len(content["validation"]) == 30
    assert content["test"][0]["label"] == [1.0, -1.0, 0.0, *[None] * 11]
    printed = capsys.readouterr().out
    assert [line.split()[-3:] for line in printed.splitlines() if line.startswith("train.csv: frontal")] == [
        ["30", "191,027", "differs"]
    ]
    assert [line.split()[-3] for line in printed.splitlines() if line.startswith("train.csv: images")] == ["60"]


def test_four_archives_are_one_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = in_batches(tmp_path / "chexpertchestxrays-u20210408")
    run_program(monkeypatch, "prepare_chexpert", "--dataset_dir", folder, "--output", tmp_path / "out.json")
    content = read_datalist(tmp_path / "out.json")
    images = [record["image"] for name in ("training", "validation", "test") for record in content[name]]
    assert len(images) == 33
    assert all((folder / image).is_file() for image in images)
    assert f"{BATCHES['patient00004']}/patient00004/study1/view1_frontal.jpg" in images


def test_check_writes_nothing_and_names_every_missing_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    folder = in_batches(tmp_path / "CheXpert")
    for patient in (7, 8):
        (folder / BATCHES[f"patient{patient:05d}"] / f"patient{patient:05d}/study1/view1_frontal.jpg").unlink()
    before = tree(tmp_path)
    with pytest.raises(InputError, match=r"2 of 33 images or their masks are missing or unreadable"):
        run_program(monkeypatch, "prepare_chexpert", "--dataset_dir", folder, "--check")
    printed = capsys.readouterr().out
    assert "patient00007/study1/view1_frontal.jpg does not exist" in printed
    assert "patient00008/study1/view1_frontal.jpg does not exist" in printed
    assert tree(tmp_path) == before


def test_masks_and_points_are_the_truth_of_images_that_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = small(tmp_path / "CheXpert-v1.0-small"), tmp_path / "out"
    arguments = ["--chexlocalize", localized(tmp_path / "chexlocalize/CheXlocalize").parent]
    run_program(monkeypatch, "prepare_chexpert", "--dataset_dir", folder, "--output", out, *arguments)
    assert set(tree(out)) == {"dataset.json", "truth.json", "points.csv"}
    assert set(json.loads((out / "truth.json").read_text())) == set(NAMES)
    images = [folder / f"valid/patient{patient:05d}/study1/view1_frontal.jpg" for patient in (91, 92)]
    truth = GroundTruth(out / "truth.json", folder)
    opacity, edema = finding_index("Lung Opacity"), finding_index("Edema")
    assert list(truth.masks(images[0], (8, 4))) == [opacity]
    assert truth.masks(images[0], (8, 4))[opacity].nonzero()[:, 0].unique().tolist() == [0, 1, 2, 3]
    points = GroundTruth(out / "points.csv", folder)
    assert points.masks(images[1], (8, 4))[edema].nonzero().tolist() == [[1, 2], [6, 0]]
    assert images[0] not in points


def test_the_images_of_chexlocalize_are_a_data_set_alone(tmp_path: Path) -> None:
    """Tables without views; paths with ``valid`` where the folder is ``val``."""
    folder = tmp_path / "chexlocalize" / "CheXpert"
    val = [f"CheXpert-v1.0/valid/patient00091/study1/view{view}.jpg" for view in ("1_frontal", "2_lateral")]
    table(folder / "val_labels.csv", val, views=False)
    table(folder / "test_labels.csv", ["test/patient00092/study1/view1_frontal.jpg"], views=False)
    for name in ("val/patient00091/study1/view1_frontal.jpg", "test/patient00092/study1/view1_frontal.jpg"):
        picture(folder / name)
    prepared = prepare(folder, chexlocalize=localized(tmp_path / "chexlocalize" / "CheXlocalize"))
    assert [(image.section, image.image) for image in prepared.images] == [
        ("validation", "val/patient00091/study1/view1_frontal.jpg"),
        ("test", "test/patient00092/study1/view1_frontal.jpg"),
    ]
    values = prepared.images[1].values or []
    assert values[finding_index("Atelectasis")] == 1
    assert values.count(0.0) == 13
    numbers = {count.what: (count.found, count.published) for count in prepared.counts}
    assert numbers["val_labels.csv: images"] == (2, 234)
    assert numbers["test_labels.csv: patients"] == (1, 500)
    assert numbers["gt_segmentations_val.json: masks, not empty"] == (2, None)
    assert numbers["masks in images that are used"] == (2, None)


def test_another_set_in_the_layout_has_no_published_numbers(tmp_path: Path) -> None:
    folder = small(tmp_path / "other")
    for name in ("train.csv", "valid.csv"):
        (folder / name).write_text((folder / name).read_text().replace("CheXpert-v1.0-small", "mine"))
    assert {count.published for count in prepare(folder).counts} == {None}


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("hb_salient_pt_test.json", {NAMES[1]: {"Edema": [[9, 1]]}}, r"a point of Edema lies outside the image, 8 x 4"),
        ("hb_salient_pt_test.json", {NAMES[1]: {"Freckle": [[1, 1]]}}, r"'Freckle' is no known finding, or its points"),
        ("hb_salient_pt_test.json", {NAMES[1]: {"Edema": [1, 2]}}, r"'Edema' is no known finding, or its points"),
        ("gt_segmentations_val.json", {NAMES[0]: {"Freckle": LEFT}}, r"'Freckle' is no known finding, or its size"),
        ("gt_segmentations_val.json", [], r"must hold one JSON object; download CheXlocalize again"),
    ],
)
def test_a_mistake_in_the_truth_is_one_sentence(tmp_path: Path, file: str, content: object, sentence: str) -> None:
    folder = localized(tmp_path / "truth")
    (folder / file).write_text(json.dumps(content))
    images = [f"valid/patient{patient:05d}/study1/view1_frontal.jpg" for patient in (91, 92)]
    with pytest.raises(InputError, match=sentence):
        truth_files(folder, images)


def test_wrong_folders_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"train.csv does not exist; dataset_dir must be the folder"):
        prepare(tmp_path)
    with pytest.raises(InputError, match=r"chexlocalize must be the folder with them"):
        prepare(small(tmp_path / "CheXpert-v1.0-small"), chexlocalize=tmp_path)
