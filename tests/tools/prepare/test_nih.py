"""NIH ChestX-ray14: its findings, its lists and its boxes."""

from __future__ import annotations

from pathlib import Path

import pytest
from preparing import counted, images_of, nih, read_datalist, sizes

from doll_monai.data.ground_truth import GroundTruth
from doll_monai.findings import FINDINGS, finding_index
from doll_monai.utils.errors import InputError
from doll_tools.prepare.nih import nih_labels, prepare_nih


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return nih(tmp_path / "CXR8")["dataset_dir"]


def labels(findings: str) -> dict[str, float | None]:
    return dict(zip(FINDINGS, nih_labels(findings, "here"), strict=True))


def test_findings_become_observations() -> None:
    found = labels("Effusion|Pleural_Thickening|Nodule|Hernia")
    positive = ["Lung Opacity", "Lung Lesion", "Pleural Effusion", "Pleural Other"]
    assert [name for name, value in found.items() if value == 1] == positive
    blank = ["Enlarged Cardiomediastinum", "Fracture", "Support Devices"]
    assert [name for name, value in found.items() if value is None] == blank
    assert sum(value == 0 for value in found.values()) == 7
    for finding in ("Infiltration", "Consolidation", "Pneumonia", "Edema", "Atelectasis", "Mass", "Nodule"):
        assert labels(finding)["Lung Opacity"] == 1
    for finding in ("Effusion", "Emphysema", "Fibrosis", "Pneumothorax", "Cardiomegaly"):
        assert labels(finding)["Lung Opacity"] == labels(finding)["No Finding"] == 0


@pytest.mark.parametrize("findings", ["Infiltrate", "", "No Finding|Mass", "edema"])
def test_unknown_findings_are_one_sentence(findings: str) -> None:
    with pytest.raises(InputError, match=r"^here: '"):
        nih_labels(findings, "here")


def test_the_owners_test_list_stays_and_the_rest_is_split(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    prepare_nih(dataset, output=tmp_path / "out")
    training, validation, test = images_of(tmp_path / "out")
    assert validation
    assert len(training) + len(validation) == 60
    assert set(test) == {f"images_{1 + number % 2:03d}/images/{number:08d}_000.png" for number in (31, 32, 33)}
    assert read_datalist(tmp_path / "out")["test"][0]["label"] == nih_labels("Cardiomegaly|Effusion", "")
    printed = capsys.readouterr().out
    assert counted(printed, "images in the table") == ["63", "112,120", "differs"]
    assert printed.count("Warning: ") == 1
    assert "published numbers differ, such as images in the table: 63 found, 112,120 published" in printed


def test_boxes_are_ground_truth(dataset: Path, tmp_path: Path) -> None:
    prepare_nih(dataset, output=tmp_path / "out")
    rows = [row.split(",") for row in (tmp_path / "out" / "boxes.csv").read_text().splitlines()[1:]]
    assert [row[2] for row in rows] == ["Infiltrate", "Mass"]
    assert all(float(row[3]) + float(row[5]) <= 1 and float(row[4]) + float(row[6]) <= 1 for row in rows)
    truth = GroundTruth(tmp_path / "out" / "boxes.csv", dataset)
    masks = truth.masks(dataset / "images_002/images/00000031_000.png", (100, 100))
    opacity, lesion = finding_index("Lung Opacity"), finding_index("Lung Lesion")
    assert set(masks) == {opacity, lesion}
    assert masks[opacity].nonzero().min(dim=0).values.tolist() == [25, 50]
    assert masks[opacity].nonzero().max(dim=0).values.tolist() == [34, 99]
    assert masks[lesion].nonzero().max(dim=0).values.tolist() == [99, 0]


def test_images_that_are_not_unpacked_are_left_out_and_named_by_check(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (dataset / "images_001" / "images" / "00000002_000.png").unlink()
    with pytest.raises(InputError, match=r"^1 of 63 images or their masks are missing or unreadable"):
        prepare_nih(dataset, check=True)
    assert "00000002_000.png of Data_Entry_2017.csv is in no folder images*" in capsys.readouterr().out
    prepare_nih(dataset, output=tmp_path / "out", training=4, validation=6, test=2)
    assert sizes(tmp_path / "out") == [4, 6, 2]
    assert "00000002_000" not in (tmp_path / "out" / "dataset.json").read_text()


@pytest.mark.parametrize(
    ("file", "change", "sentence"),
    [
        ("Data_Entry_2017.csv", ("No Finding", "None"), r"line 4: 'None' is no finding of NIH"),
        ("Data_Entry_2017.csv", ("00000002_000", "00000001_000"), r"line 4: .*00000001_000.png occurs twice, first in"),
        ("test_list.txt", ("00000031_000.png", "00000001_001.png"), r"share images, such as 00000001_001"),
        ("Data_Entry_2017.csv", (",31,058Y", ",1,058Y"), r"share patients, such as 00000001; download both again"),
        ("BBox_List_2017.csv", ("Infiltrate", "Freckle"), r"BBox_List_2017.csv, line 2: 'Freckle' is no finding"),
        ("BBox_List_2017.csv", ("512,102.4", "5120,102.4"), r"line 2: the box lies outside an image of 1024 x 1024"),
    ],
)
def test_a_mistake_in_a_table_is_one_sentence(dataset: Path, file: str, change: tuple[str, str], sentence: str) -> None:
    (dataset / file).write_text((dataset / file).read_text().replace(*change, 1))
    with pytest.raises(InputError, match=sentence):
        prepare_nih(dataset, check=True)


def test_without_the_lists_images_are_split_by_patient(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (dataset / "test_list.txt").unlink()
    with pytest.raises(InputError, match=r"train_val_list\.txt alone of NIH's two lists"):
        prepare_nih(dataset)
    (dataset / "train_val_list.txt").unlink()
    prepare_nih(dataset, output=tmp_path / "out")
    assert all(sizes(tmp_path / "out"))
    assert "Without train_val_list.txt and test_list.txt all images are split by patient." in capsys.readouterr().out
