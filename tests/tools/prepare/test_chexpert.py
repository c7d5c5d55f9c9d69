"""CheXpert in the forms in which it is distributed, and CheXlocalize's masks and points as its ground truth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from preparing import (
    HEADER,
    LABELS,
    SMALL,
    all_images,
    chexpert,
    counted,
    images_of,
    picture,
    read_datalist,
    sizes,
    tree,
    write_csv,
)
from preparing import chexpert_path as image
from preparing import chexpert_row as row

from doll_monai.data.ground_truth import GroundTruth
from doll_monai.findings import FINDINGS, finding_index
from doll_monai.utils.errors import InputError
from doll_tools.cli import main
from doll_tools.prepare.chexpert import patient_of, prepare_chexpert

BATCHES = {f"patient{n:05d}": f"CheXpert-v1.0 batch {2 + n % 3} (train {1 + n % 3})" for n in range(40)}
READ = [1, 0, -1, None, -1, 1, *[None] * 8]


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """The small set in a folder whose name is a number."""
    return chexpert(tmp_path / "2023")["dataset_dir"]


def test_the_small_set_is_prepared(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["prepare", "chexpert", "--dataset_dir", "2023", "--output", "2024"]) == 0
    content = read_datalist(tmp_path / "2024")
    assert content["labels"]["2"] == "Cardiomegaly"
    assert [record["image"] for record in content["validation"]] == [image(n, prefix="") for n in (2, 4, 9, 17, 21)]
    assert sizes(tmp_path / "2024") == [35, 5, 3]
    assert all(record["label"] == READ for record in content["training"])
    printed = capsys.readouterr().out
    assert counted(printed, "train.csv: frontal images") == ["40", "191,027", "differs"]
    assert counted(printed, "train.csv: images") == ["80", "223,414", "differs"]
    assert printed.rpartition("No Finding")[2].split()[:4] == ["3", "0", "0", "0"]


def test_four_archives_are_one_set(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Each is unpacked to a folder of its name; two images are lost."""
    first = tmp_path / "CheXpert-v1.0 batch 1 (validate & csv)"
    train = [image(patient, prefix="CheXpert-v1.0/") for patient in range(40)]
    valid = [image(patient, "valid", prefix="CheXpert-v1.0/") for patient in range(90, 93)]
    write_csv(first / "train.csv", list(map(row, train)))
    write_csv(first / "valid.csv", list(map(row, valid)))
    for path in valid:
        picture(first / path.partition("/")[2])
    places = [tmp_path / BATCHES[str(patient_of(path))] / path.split("/", 2)[2] for path in train]
    for path in places:
        picture(path)
    prepare_chexpert(tmp_path, output=tmp_path / "out.json")
    images = all_images(tmp_path / "out.json")
    assert len(images) == 43
    assert all((tmp_path / path).is_file() for path in images)
    assert f"{BATCHES['patient00005']}/patient00005/study1/view1_frontal.jpg" in images
    for path in places[7:9]:
        path.unlink()
    with pytest.raises(InputError, match=r"2 of 43 images or their masks are missing or unreadable"):
        prepare_chexpert(tmp_path, check=True)
    printed = capsys.readouterr().out
    assert "patient00007/study1/view1_frontal.jpg does not exist" in printed
    assert "patient00008/study1/view1_frontal.jpg does not exist" in printed


def test_labels_follow_the_observations_not_the_order_of_columns(dataset: Path, tmp_path: Path) -> None:
    cells = dict(zip(HEADER, row(image(90, "valid")), strict=True))
    write_csv(dataset / "valid.csv", [[cells[name] for name in sorted(HEADER)]], sorted(HEADER))
    prepare_chexpert(dataset, output=tmp_path / "out")
    assert [record["label"] for record in read_datalist(tmp_path / "out")["test"]] == [READ]


def test_paths_that_exist_as_they_are_stay(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    chexpert(tmp_path / "mine")
    for name in ("train.csv", "valid.csv"):
        text = (tmp_path / "mine" / name).read_text()
        (tmp_path / name).write_text(text.replace("CheXpert-v1.0-small", "mine"))
    prepare_chexpert(tmp_path, output=tmp_path / "out")
    assert read_datalist(tmp_path / "out")["test"][0]["image"] == image(90, "valid", prefix="mine/")
    assert counted(capsys.readouterr().out, "train.csv: images") == ["80", "-"], "another set has no published numbers"


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([row(image(0)), row(image(1), ["", "2.0"])], r"line 3: 7 cells for 19 columns"),
        ([row(image(0), ["", "1_0", *LABELS[2:]])], r"line 2: Enlarged Cardiomediastinum is '1_0'; it must be"),
        ([row(image(0), ["nan", *LABELS[1:]])], "line 2: No Finding is 'nan'"),
        ([row(image(0)), row(f"{SMALL}../../patient00001/a.jpg")], "line 3: .* leads out of the data set"),
        ([row(image(0)), row(image(1)), row(image(0))], "line 4: .* occurs twice, first in .*train.csv, line 2"),
        ([row(image(0), view="Lateral")], r"has no frontal image \(and 1 lateral\)"),
        ([row(image(0), view="frontal?")], "line 2: Frontal/Lateral is 'frontal\\?'"),
        ([row(f"{SMALL}train/someone/a.jpg")], "has no folder patientNNNNN"),
        ([row(image(99))], "first frontal images of .* do not exist"),
        ([row(image(n)) for n in (0, 4, 98)], "line 4: The image .*patient00098.* does not exist"),
        ([row(image(0)), row(image(1, prefix="other/"))], "does not start with 'CheXpert-v1.0-small'"),
        ([row(image(92))], "1 patients are in two tables of .*patient00092; correct the files, or use patient_overlap"),
    ],
)
def test_a_bad_row_is_one_sentence_and_nothing_is_written(
    dataset: Path, tmp_path: Path, rows: list[list[str]], sentence: str
) -> None:
    write_csv(dataset / "train.csv", rows)
    picture(dataset / image(92, prefix=""))
    with pytest.raises(InputError, match=sentence) as caught:
        prepare_chexpert(dataset, output=tmp_path / "out", validation_share=0.15)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_patient_of_two_tables_may_be_kept_for_test_alone(dataset: Path, tmp_path: Path) -> None:
    write_csv(dataset / "valid.csv", [row(image(5, "valid"))])
    picture(dataset / image(5, "valid", prefix=""))
    prepare_chexpert(dataset, output=tmp_path / "out", validation_share=0.3, patient_overlap="drop")
    training, validation, test = ({patient_of(path) for path in images} for images in images_of(tmp_path / "out"))
    assert len(training | validation) == 39
    assert test == {"patient00005"}
    assert not test & (training | validation)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"patient_overlap": "keep"}, "patient_overlap is 'keep'"),
        ({"chexlocalize": "."}, "chexlocalize must be the folder with them"),
    ],
)
def test_a_bad_option_is_one_sentence(dataset: Path, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        prepare_chexpert(dataset, **options)


NAMES = ("patient00091_study1_view1_frontal", "patient00092_study1_view1_frontal")
LEFT, EMPTY = {"size": [4, 8], "counts": "0`0`0"}, {"size": [4, 8], "counts": "P1"}
"""Masks of 4 rows and 8 columns: the left half, and nothing."""


@pytest.fixture
def localized(tmp_path: Path) -> Path:
    """CheXlocalize's files: masks of validation and test, most of them empty, and points of test."""
    folder = tmp_path / "chexlocalize" / "CheXlocalize"
    folder.mkdir(parents=True)
    val = {NAMES[0]: {"Airspace Opacity": LEFT, "Edema": EMPTY}, "patient00001_study1_view2_lateral": {"Edema": LEFT}}
    points = {NAMES[1]: {"img_size": [4, 8], "Edema": [[1, 2], [6.5, 0]]}, "patient1_study1_view1_frontal": {"X": []}}
    contents = {"gt_segmentations_val": val, "gt_segmentations_test": {NAMES[1]: {"Edema": LEFT}}}
    for name, content in {**contents, "hb_salient_pt_test": points}.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def test_masks_and_points_are_the_ground_truth_of_images_that_are_used(
    dataset: Path, localized: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    prepare_chexpert(dataset, output=out, chexlocalize=localized.parent)
    masks = {f"masks/{NAMES[0]}/Lung_Opacity.png", f"masks/{NAMES[1]}/Edema.png"}
    assert set(tree(out)) == {"dataset.json", "truth.csv", "points.csv", *masks}
    with Image.open(out / min(masks)) as mask:
        assert (mask.mode, mask.size) == ("1", (8, 4))
    images = [dataset / f"valid/patient{patient:05d}/study1/view1_frontal.jpg" for patient in (91, 92)]
    truth = GroundTruth(out / "truth.csv", dataset)
    assert [dataset / image for image in truth.images] == images
    opacity, edema = finding_index("Lung Opacity"), finding_index("Edema")
    assert list(truth.masks(images[0], (8, 4))) == [opacity]
    assert truth.masks(images[0], (8, 4))[opacity].nonzero()[:, 0].unique().tolist() == [0, 1, 2, 3]
    points = GroundTruth(out / "points.csv", dataset)
    assert points.masks(images[1], (8, 4))[edema].nonzero().tolist() == [[1, 2], [6, 0]]
    assert images[0] not in points


def test_the_images_of_chexlocalize_are_a_data_set_alone(
    localized: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Tables without views; paths with ``valid`` where the folder is ``val``."""
    folder, header = tmp_path / "chexlocalize" / "CheXpert", ["Path", *sorted(FINDINGS)]
    views = [image(91, "valid", prefix="CheXpert-v1.0/", view=view) for view in ("view1_frontal", "view2_lateral")]
    write_csv(folder / "val_labels.csv", [[path, "1", *["0"] * 13] for path in views], header)
    write_csv(folder / "test_labels.csv", [[image(92, "test", prefix=""), "1", *["0"] * 13]], header)
    for path in (image(91, "val", prefix=""), image(92, "test", prefix="")):
        picture(folder / path)
    prepare_chexpert(folder, output=tmp_path / "out", chexlocalize=localized)
    assert images_of(tmp_path / "out") == [[], [image(91, "val", prefix="")], [image(92, "test", prefix="")]]
    content = read_datalist(tmp_path / "out")
    assert content["test"][0]["label"] == [float(name == "Atelectasis") for name in FINDINGS]
    printed = capsys.readouterr().out
    assert counted(printed, "val_labels.csv: images")[:2] == ["2", "234"]
    assert counted(printed, "gt_segmentations_val.json: masks, not empty") == ["2", "-"]
    assert counted(printed, "masks in images that are used") == ["2", "-"]


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("hb_salient_pt_test", {NAMES[1]: {"Edema": [[9, 1]]}}, r"a point of Edema lies outside the image, 8 x 4"),
        ("hb_salient_pt_test", {NAMES[1]: {"Freckle": [[1, 1]]}}, r"'Freckle' is no known finding, or its points"),
        ("hb_salient_pt_test", {NAMES[1]: {"Edema": [1, 2]}}, r"'Edema' is no known finding, or its points"),
        ("gt_segmentations_val", {NAMES[0]: {"Freckle": LEFT}}, r"'Freckle' is no known finding, or its size"),
        ("gt_segmentations_val", {NAMES[0]: [LEFT]}, r"must hold an object of its findings"),
        ("gt_segmentations_val", [], r"must hold one JSON object; download CheXlocalize again"),
    ],
)
def test_a_mistake_in_the_ground_truth_is_one_sentence(
    dataset: Path, localized: Path, file: str, content: object, sentence: str
) -> None:
    (localized / f"{file}.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=sentence):
        prepare_chexpert(dataset, chexlocalize=localized)


def test_several_folders_of_one_layout_are_one_set_and_held_out_patients_are_for_test_alone(tmp_path: Path) -> None:
    for part in ("old", "new"):
        chexpert(tmp_path / part)
        for name in ("train.csv", "valid.csv"):
            text = (tmp_path / part / name).read_text()
            (tmp_path / part / name).write_text(text.replace("CheXpert-v1.0-small", part))
    write_csv(tmp_path / "boxes.csv", [[image(3, prefix="old/")], [image(90, "valid", prefix="new/")]], ["Path"])
    prepare_chexpert(tmp_path, output=tmp_path / "out", parts="old,new", held_out=str(tmp_path / "boxes.csv"))
    training, validation, test = images_of(tmp_path / "out")
    assert {path.split("/")[0] for path in training} == {"old", "new"}
    patients = [{patient_of(path) for path in section} for section in (training, validation, test)]
    assert not patients[0] & patients[1]
    assert len(patients[0] | patients[1]) == 39
    assert "patient00003" not in patients[0] | patients[1]
    assert len(test) == 6, "patients of valid.csv stay"
