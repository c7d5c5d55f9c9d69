from __future__ import annotations

import csv
import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from doll_monai.findings import FINDINGS
from doll_monai.utils.errors import InputError
from doll_tools.prepare.chexpert import chexpert_datalist, count_labels, patient_of, read_chexpert

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "scripts" / "prepare_chexpert.py"
REAL = ROOT.parent / "shared" / "data" / "nih_in_chexpert_layout"
HEADER = ["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *FINDINGS]
BLANK = [""] * 14


def image(patient: int, split: str = "train", study: int = 1, prefix: str = "CheXpert-v1.0-small/") -> str:
    return f"{prefix}{split}/patient{patient:05d}/study{study}/view1_frontal.jpg"


def row(path: str, labels: list[str] = BLANK, view: str = "Frontal") -> list[str]:
    return [path, "Female", "60", view, "AP" if view == "Frontal" else "", *labels]


def write_csv(path: Path, rows: list[list[str]], header: list[str] = HEADER) -> None:
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def make_images(folder: Path, rows: list[list[str]], prefix: str = "CheXpert-v1.0-small/") -> None:
    for cells in rows:
        path = folder / cells[0].removeprefix(prefix)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """40 patients in train.csv, 3 in valid.csv, in a folder that does not have CheXpert's name."""
    folder = tmp_path / "renamed"
    train = [row(image(number), ["1.0", "0.0", "-1.0", *BLANK[3:]]) for number in range(40)]
    valid = [row(image(number, "valid"), ["0.0"] * 14) for number in range(100, 103)]
    make_images(folder, train + valid)
    write_csv(folder / "train.csv", train)
    write_csv(folder / "valid.csv", valid)
    return folder


def test_labels_are_kept_as_they_are(dataset: Path) -> None:
    write_csv(dataset / "train.csv", [row(image(0), ["1.0", "0", "-1.0", "", "-1", "1", *BLANK[6:]])])
    (record,) = read_chexpert(dataset, "train.csv")
    assert record["image"] == "train/patient00000/study1/view1_frontal.jpg"
    assert record["label"] == [1.0, 0.0, -1.0, None, -1.0, 1.0, *[None] * 8]


def test_labels_follow_the_order_of_the_observations_not_of_the_columns(dataset: Path) -> None:
    cells = dict(zip(HEADER, row(image(0), [str(float(i == 2)) for i in range(14)]), strict=True))
    header = sorted(HEADER)
    write_csv(dataset / "train.csv", [[cells[name] for name in header]], header)
    (record,) = read_chexpert(dataset, "train.csv")
    assert record["label"] == [float(i == 2) for i in range(14)]


def test_paths_that_exist_as_they_are_stay(tmp_path: Path) -> None:
    rows = [row(image(number)) for number in range(2)]
    make_images(tmp_path, rows, prefix="")
    write_csv(tmp_path / "train.csv", rows)
    assert [record["image"] for record in read_chexpert(tmp_path, "train.csv")] == [image(0), image(1)]


def test_lateral_images_are_left_out_and_counted(dataset: Path, caplog: pytest.LogCaptureFixture) -> None:
    lateral = row("CheXpert-v1.0-small/train/patient00001/study1/view2_lateral.jpg", view="Lateral")
    write_csv(dataset / "train.csv", [lateral, row(image(1))])
    with caplog.at_level(logging.INFO):
        assert [record["image"] for record in read_chexpert(dataset, "train.csv")] == [image(1, prefix="")]
    assert "1 frontal images, 1 lateral left out" in caplog.text


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (
            [row(image(0)), row(image(1), ["", "2.0", *BLANK[2:]])],
            r"line 3: Enlarged Cardiomediastinum is '2.0'; it must be",
        ),
        ([row(image(0), ["yes", *BLANK[1:]])], "line 2: No Finding is 'yes'"),
        ([row(image(0), ["nan", *BLANK[1:]])], "line 2: No Finding is 'nan'"),
        ([row(image(0)), row("CheXpert-v1.0-small/../../patient00001/a.jpg")], "line 3: .* leads out of the data set"),
        ([row("/train/patient00001/a.jpg")], "line 2: .* leads out of the data set"),
        ([row(image(0)), row(image(1)), row(image(0))], "line 4: .* occurs twice, first in line 2"),
        ([row(image(0), view="Lateral")], "has no frontal image"),
        ([], "has no frontal image"),
        ([row(image(0), view="frontal?")], "line 2: Frontal/Lateral is 'frontal\\?'"),
        ([row("CheXpert-v1.0-small/train/someone/a.jpg")], "has no folder patientNNNNN"),
        ([row(image(99))], "first frontal images of .* do not exist"),
        ([row(image(0)), row(image(98)), row(image(99))], "2 of 3 images looked for .* first: train/patient00098"),
        ([row(image(0)), row(image(1, prefix="other/"))], "does not start with 'CheXpert-v1.0-small'"),
    ],
)
def test_a_bad_row_is_one_sentence(dataset: Path, rows: list[list[str]], sentence: str) -> None:
    write_csv(dataset / "train.csv", rows)
    with pytest.raises(InputError, match=sentence) as caught:
        read_chexpert(dataset, "train.csv")
    assert "\n" not in str(caught.value)


def test_a_missing_file_or_column_is_named(dataset: Path) -> None:
    with pytest.raises(InputError, match=r"test.csv does not exist; dataset_dir must be"):
        read_chexpert(dataset, "test.csv")
    write_csv(dataset / "train.csv", [], [name for name in HEADER if name not in ("Edema", "Fracture")])
    with pytest.raises(InputError, match=r"train.csv has no column Edema, Fracture; it has: Path"):
        read_chexpert(dataset, "train.csv")


def test_check_images_decides_how_many_are_looked_for(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (dataset / image(7, prefix="")).unlink()
    assert len(read_chexpert(dataset, "train.csv", check_images="none")) == 40
    with pytest.raises(InputError, match="1 of 40"):
        read_chexpert(dataset, "train.csv", check_images="all")
    monkeypatch.setattr("doll_tools.prepare.chexpert.CHECKED_WITHOUT_ASKING", 10)
    assert len(read_chexpert(dataset, "train.csv", check_images="some")) == 40
    with pytest.raises(InputError, match="check_images is 'few'"):
        read_chexpert(dataset, "train.csv", check_images="few")


def test_a_patient_is_in_one_section_only(dataset: Path) -> None:
    rows = [row(image(number, study=study)) for number in range(40) for study in (1, 2)]
    make_images(dataset, rows)
    write_csv(dataset / "train.csv", rows)
    sections = chexpert_datalist(dataset, 0.3, 0)
    patients = {name: {patient_of(record["image"]) for record in records} for name, records in sections.items()}
    assert not patients["training"] & patients["validation"]
    assert len(sections["training"]) + len(sections["validation"]) == 80
    assert len(sections["test"]) == 3


def test_a_patient_in_both_files_is_refused_or_dropped_from_training(dataset: Path) -> None:
    rows = [row(image(5, "valid"))]
    make_images(dataset, rows)
    write_csv(dataset / "valid.csv", rows)
    with pytest.raises(InputError, match=r"1 patients are both in .*patient00005"):
        chexpert_datalist(dataset)
    sections = chexpert_datalist(dataset, patient_overlap="drop")
    assert len(sections["training"]) + len(sections["validation"]) == 39
    assert [record["image"] for record in sections["test"]] == ["valid/patient00005/study1/view1_frontal.jpg"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"validation_share": 1}, "validation_share is 1"),
        ({"validation_share": -0.1}, "validation_share is -0.1"),
        ({"validation_share": "some"}, "validation_share is some"),
        ({"validation_share": 1e-6}, "fell into validation"),
        ({"patient_overlap": "keep"}, "patient_overlap is 'keep'"),
    ],
)
def test_a_bad_option_is_one_sentence(dataset: Path, options: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        chexpert_datalist(dataset, **options)


def test_no_validation_can_be_asked_for(dataset: Path) -> None:
    assert [len(records) for records in chexpert_datalist(dataset, 0).values()] == [40, 0, 3]


def test_labels_are_counted(dataset: Path) -> None:
    counts = count_labels(read_chexpert(dataset, "train.csv"))
    assert list(counts) == list(FINDINGS)
    assert [counts[name] for name in FINDINGS[:4]] == [(40, 0, 0, 0), (0, 40, 0, 0), (0, 0, 40, 0), (0, 0, 0, 40)]
    assert count_labels([])["Edema"] == (0, 0, 0, 0)


def run_script(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True, check=False)


def test_the_program_writes_a_datalist_and_a_table(dataset: Path, tmp_path: Path) -> None:
    done = run_script("--dataset_dir", dataset, "--output", tmp_path / "out", "--validation_share", "0.2")
    assert done.returncode == 0, done.stderr
    content = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert content["labels"]["2"] == "Cardiomegaly"
    assert len(content["training"]) + len(content["validation"]) == 40
    assert "test: 3 images" in done.stdout
    assert "uncertain" in done.stdout


def test_the_program_fails_with_one_sentence_and_writes_nothing(dataset: Path, tmp_path: Path) -> None:
    write_csv(dataset / "train.csv", [row(image(0), ["7", *BLANK[1:]])])
    done = run_script("--dataset_dir", dataset, "--output", tmp_path / "out")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("Error: ")
    assert "line 2: No Finding is '7'; it must be 1, 0, -1 or blank." in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not REAL.is_dir(), reason="the development images in ../shared/data are absent")
def test_real_images_in_the_layout_are_read() -> None:
    sections = chexpert_datalist(REAL, 0.1, 0)
    with open(REAL / "train.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(sections["training"]) + len(sections["validation"]) == len(rows)
    assert sum(count_labels(sections[name])["Edema"][0] for name in ("training", "validation")) == sum(
        row["Edema"] == "1.0" for row in rows
    )
