"""NIH ChestX-ray14: a small tree with its names, its broken headers and its spellings."""

from __future__ import annotations

from pathlib import Path

import pytest
from preparing import counted, picture, read_datalist, sizes, tree

from doll_monai.data.ground_truth import GroundTruth
from doll_monai.findings import FINDINGS, finding_index
from doll_monai.utils.errors import InputError
from doll_tools.prepare.nih import nih_labels, prepare_nih

ENTRIES = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],\n"
)
BOXES = "Image Index,Finding Label,Bbox [x,y,w,h],,,\n"


@pytest.fixture
def nih(tmp_path: Path) -> Path:
    """30 patients with two images each to train on, 3 with one to test, over two folders of images."""
    folder = tmp_path / "CXR8"
    rows, trained, tested = [], [], []
    for patient in range(1, 34):
        for follow_up in range(2 if patient <= 30 else 1):
            name = f"{patient:08d}_{follow_up:03d}.png"
            findings = "Cardiomegaly|Effusion" if patient % 2 else "No Finding"
            rows.append(f"{name},{findings},{follow_up},{patient},058Y,M,PA,2682,2749,0.143,0.143,\n")
            (trained if patient <= 30 else tested).append(name)
            picture(folder / f"images_{1 + patient % 2:03d}" / "images" / name)
    (folder / "Data_Entry_2017.csv").write_text(ENTRIES + "".join(rows))
    (folder / "train_val_list.txt").write_text("\n".join(trained) + "\n")
    (folder / "test_list.txt").write_text("\r\n".join(tested))
    boxes = ["00000031_000.png,Infiltrate,256.0,512,102.4,512,,,\n", "00000031_000.png,Mass,1000,0,60,10.24\n"]
    (folder / "BBox_List_2017.csv").write_text(BOXES + "".join(boxes))
    return folder


def labels(findings: str) -> dict[str, float | None]:
    return dict(zip(FINDINGS, nih_labels(findings, "here"), strict=True))


def test_findings_become_observations() -> None:
    found = labels("Effusion|Pleural_Thickening|Nodule|Hernia")
    positive = ["Lung Opacity", "Lung Lesion", "Pleural Effusion", "Pleural Other"]
    assert [name for name, value in found.items() if value == 1] == positive
    blank = ["Enlarged Cardiomediastinum", "Fracture", "Support Devices"]
    assert [name for name, value in found.items() if value is None] == blank
    assert sum(value == 0 for value in found.values()) == 7


@pytest.mark.parametrize(
    ("finding", "opaque"),
    [
        *((name, 1) for name in ("Infiltration", "Consolidation", "Pneumonia", "Edema", "Atelectasis", "Mass")),
        *((name, 0) for name in ("No Finding", "Effusion", "Emphysema", "Fibrosis", "Pneumothorax", "Cardiomegaly")),
    ],
)
def test_lung_opacity_is_what_makes_the_lung_denser(finding: str, opaque: int) -> None:
    assert labels(finding)["Lung Opacity"] == opaque
    assert labels(finding)["No Finding"] == (finding == "No Finding")


@pytest.mark.parametrize("findings", ["Infiltrate", "", "No Finding|Mass", "edema"])
def test_unknown_findings_are_one_sentence(findings: str) -> None:
    with pytest.raises(InputError, match=r"^here: '"):
        nih_labels(findings, "here")


def test_the_owners_test_list_stays_and_the_rest_is_split_by_patient(
    nih: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    before, out = tree(nih), tmp_path / "out"
    prepare_nih(nih, out)
    assert tree(nih) == before
    assert set(tree(out)) == {"dataset.json", "boxes.csv"}
    content = read_datalist(out)
    assert len(content["training"]) + len(content["validation"]) == 60
    assert {record["image"] for record in content["test"]} == {
        f"images_{1 + patient % 2:03d}/images/{patient:08d}_000.png" for patient in (31, 32, 33)
    }
    training, validation = ({r["image"][-16:-8] for r in content[name]} for name in ("training", "validation"))
    assert validation
    assert not training & validation
    assert content["test"][0]["label"] == nih_labels("Cardiomegaly|Effusion", "")
    printed = capsys.readouterr().out
    assert counted(printed, "images in the table") == ["63", "112,120", "differs"]
    assert printed.count("Warning: ") == 1
    assert "published numbers differ, such as images in the table: 63 found, 112,120 published" in printed


def test_boxes_are_ground_truth(nih: Path, tmp_path: Path) -> None:
    prepare_nih(nih, tmp_path / "out")
    rows = [row.split(",") for row in (tmp_path / "out" / "boxes.csv").read_text().splitlines()[1:]]
    assert [row[2] for row in rows] == ["Infiltrate", "Mass"]
    assert all(float(row[3]) + float(row[5]) <= 1 and float(row[4]) + float(row[6]) <= 1 for row in rows)
    truth = GroundTruth(tmp_path / "out" / "boxes.csv", nih)
    masks = truth.masks(nih / "images_002/images/00000031_000.png", (100, 100))
    opacity, lesion = finding_index("Lung Opacity"), finding_index("Lung Lesion")
    assert set(masks) == {opacity, lesion}
    assert masks[opacity].nonzero().min(dim=0).values.tolist() == [25, 50]
    assert masks[opacity].nonzero().max(dim=0).values.tolist() == [34, 99]
    assert masks[lesion].nonzero().max(dim=0).values.tolist() == [99, 0]


def test_images_that_are_not_unpacked_are_left_out_and_named_by_check(
    nih: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (nih / "images_001" / "images" / "00000002_000.png").unlink()
    (nih / "images_002" / "images" / "00000001_000.png").write_bytes(b"\x89PNG")
    before = tree(tmp_path)
    with pytest.raises(InputError, match=r"^2 of 63 images or their masks are missing or unreadable"):
        prepare_nih(nih, tmp_path / "out", check=True)
    printed = capsys.readouterr().out
    assert "The image 00000002_000.png of Data_Entry_2017.csv is in no folder" in printed
    assert "00000001_000.png cannot be read" in printed
    assert tree(tmp_path) == before
    prepare_nih(nih, tmp_path / "out", training=4, validation=6, test=2)
    assert sizes(tmp_path / "out") == [4, 6, 2]
    assert "00000002_000" not in (tmp_path / "out" / "dataset.json").read_text()


def test_check_of_a_whole_set_writes_nothing(nih: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    before = tree(tmp_path)
    prepare_nih(nih, check=True)
    assert "All 63 images and their masks are there" in capsys.readouterr().out
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("file", "change", "sentence"),
    [
        ("Data_Entry_2017.csv", ("No Finding", "None"), r"line 4: 'None' is no finding of NIH"),
        ("Data_Entry_2017.csv", ("00000002_000", "00000001_000"), r"line 4: .*00000001_000.png occurs twice, first in"),
        ("test_list.txt", ("00000031_000.png", "00000001_001.png"), r"share images, such as 00000001_001"),
        ("train_val_list.txt", ("00000001_001.png\n", ""), r""),
        ("BBox_List_2017.csv", ("Infiltrate", "Freckle"), r"BBox_List_2017.csv, line 2: 'Freckle' is no finding"),
        ("BBox_List_2017.csv", ("512,102.4", "5120,102.4"), r"line 2: the box lies outside an image of 1024 x 1024"),
    ],
)
def test_a_mistake_in_a_table_is_one_sentence(nih: Path, file: str, change: tuple[str, str], sentence: str) -> None:
    (nih / file).write_text((nih / file).read_text().replace(*change, 1))
    if not sentence:  # an image of a patient to train on goes to the other list
        (nih / "test_list.txt").write_text(change[0])
        sentence = "share patients, such as 00000001; download both lists again"
    with pytest.raises(InputError, match=sentence):
        prepare_nih(nih, check=True)


def test_without_the_lists_images_are_split_by_patient(
    nih: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (nih / "test_list.txt").unlink()
    with pytest.raises(InputError, match=r"train_val_list\.txt alone of NIH's two lists"):
        prepare_nih(nih)
    (nih / "train_val_list.txt").unlink()
    prepare_nih(nih, tmp_path / "out")
    assert all(sizes(tmp_path / "out"))
    assert "Without train_val_list.txt and test_list.txt all images are split by patient." in capsys.readouterr().out
