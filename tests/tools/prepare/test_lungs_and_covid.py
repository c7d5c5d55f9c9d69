"""Montgomery, Shenzhen, COVID-QU-Ex and QaTa-COV19: small trees with their names and oddities."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from preparing import counted, labels_of, mask, picture, read_datalist, sizes, tree

from doll_monai.utils.errors import InputError
from doll_tools.cli import main
from doll_tools.prepare.covid import prepare_covid
from doll_tools.prepare.lungs import prepare_lungs


@pytest.fixture
def nlm(tmp_path: Path) -> Path:
    """Five images of Montgomery, four of Shenzhen of which one has no mask, and what lies beside them."""
    folder = tmp_path / "NLM"
    for number in range(1, 6):
        name = f"MCUCXR_{number:04d}_{number % 2}.png"
        picture(folder / "MontgomerySet" / "CXR_png" / name)
        picture(folder / "MontgomerySet" / "ManualMask" / "leftMask" / name, mask((1, 6)) > 0)
        picture(folder / "MontgomerySet" / "ManualMask" / "rightMask" / name, mask((2, 1)) > 0)
        (folder / "__MACOSX" / "MontgomerySet" / "CXR_png").mkdir(parents=True, exist_ok=True)
        (folder / "__MACOSX" / "MontgomerySet" / "CXR_png" / name).write_bytes(b"junk")
    for number in range(1, 5):
        name = f"CHNCXR_{number:04d}_{number % 2}"
        picture(folder / "ChinaSet_AllFiles" / "CXR_png" / f"{name}.png", np.full((5, 8, 3), 9, np.uint8))
        if number < 4:
            picture(folder / "mask" / "mask" / f"{name}_mask.png", mask((3, 3)))
    (folder / "ChinaSet_AllFiles" / "CXR_png" / "Thumbs.db").write_bytes(b"junk")
    return folder


def test_lungs_of_both_sets_are_joined(nlm: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    before, out = tree(nlm), tmp_path / "out"
    arguments = ["--dataset_dir", str(nlm), "--output", str(out), "--training", "2", "--validation", "1"]
    assert main(["prepare", "lungs", *arguments]) == 0
    assert tree(nlm) == before
    assert sizes(out) == [2, 1, 5]
    content, found = read_datalist(out), labels_of(out)
    assert content["labels"] == {"0": "lungs"}
    assert content["name"] == "Lungs of Montgomery and Shenzhen"
    assert np.argwhere(found["MontgomerySet/CXR_png/MCUCXR_0001_1.png"]).tolist() == [[0, 1, 2], [0, 6, 1]]
    assert np.argwhere(found["ChinaSet_AllFiles/CXR_png/CHNCXR_0003_1.png"]).tolist() == [[0, 3, 3]]
    printed = capsys.readouterr().out
    assert "1 images without masks left out." in printed
    assert counted(printed, "Shenzhen, images") == ["4", "662", "differs"]
    assert counted(printed, "Shenzhen, with masks") == ["3", "566", "differs"]


def test_a_lung_without_the_other_is_a_defect(nlm: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (nlm / "MontgomerySet/ManualMask/rightMask/MCUCXR_0002_0.png").unlink()
    picture(nlm / "mask/mask/CHNCXR_0001_1_mask.png", mask(shape=(5, 9)))
    before = tree(tmp_path)
    with pytest.raises(InputError, match="2 of 8 images or their masks"):
        prepare_lungs(nlm, check=True)
    printed = capsys.readouterr().out
    assert "MCUCXR_0002_0.png has none of the other lung in rightMask." in printed
    assert "CHNCXR_0001_1_mask.png has 9 x 5 pixels, its image" in printed
    assert tree(tmp_path) == before


def test_a_set_that_is_there_twice_or_not_at_all_is_refused(nlm: Path) -> None:
    picture(nlm / "copy" / "CXR_png" / "MCUCXR_0001_1.png")
    with pytest.raises(InputError, match=r"CXR_png/MCUCXR_0001_1.png and copy/CXR_png/MCUCXR_0001_1.png"):
        prepare_lungs(nlm)
    with pytest.raises(InputError, match="has no image in a folder CXR_png with its mask"):
        prepare_lungs(nlm / "mask")


def qu_ex(folder: Path, part: str = "Infection Segmentation Data") -> Path:
    """Four images to train, two to validate and two to test, of each group; infection is drawn for COVID-19 alone."""
    for split, count in (("Train", 4), ("Val", 2), ("Test", 2)):
        for group in ("COVID-19", "Non-COVID", "Normal"):
            place = folder / part / part / split / group
            for number in range(count):
                name = f"{split.lower()}_{group.lower()}_{number}.png"
                picture(place / "images" / name)
                picture(place / "lung masks" / name, mask((1, 1), (2, 2)))
                if group == "COVID-19" and "Infection" in part:
                    picture(place / "infection masks" / name, mask((4, 7)))
    return folder


def test_infection_keeps_the_owners_split(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder, out = qu_ex(tmp_path / "covidqu"), tmp_path / "out"
    lost = folder / "Infection Segmentation Data/Infection Segmentation Data/Test/COVID-19/infection masks"
    (lost / "test_covid-19_0.png").unlink()
    before = tree(folder)
    prepare_covid(folder, out)
    assert tree(folder) == before
    assert sizes(out) == [4, 2, 1]
    assert all("/Val/COVID-19/images/" in record["image"] for record in read_datalist(out)["validation"])
    assert all(np.argwhere(found).tolist() == [[0, 7, 4]] for found in labels_of(out).values())
    assert "1 images are left out, a file is missing" in capsys.readouterr().out


def test_images_without_covid_have_no_infection(tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare_covid(qu_ex(tmp_path), out, classes="lungs,infection", groups=("Normal", "COVID-19"), training=3)
    assert read_datalist(out)["labels"] == {"0": "infection", "1": "lungs"}
    assert sizes(out) == [3, 4, 4]
    for image, found in labels_of(out).items():
        assert found.sum(axis=(1, 2)).tolist() == ["COVID-19" in image, 2]


def test_lungs_of_covid_qu_ex_are_of_all_groups(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    prepare_covid(qu_ex(tmp_path, "Lung Segmentation Data"), tmp_path / "out", classes="lungs")
    assert sizes(tmp_path / "out") == [12, 6, 6]
    assert counted(capsys.readouterr().out, "Non-COVID, images") == ["8", "11,263", "differs"]


@pytest.fixture
def qata(tmp_path: Path) -> Path:
    """Ten patients with two images and one without a patient's name to train on; two images to test."""
    folder = tmp_path / "QaTa-COV19"
    names = [f"sub-S0{number:04d}_ses-E0{image}_run-1_bp-chest_vp-ap_dx" for number in range(10) for image in range(2)]
    for split, images in (("Train Set", [*names, "covid_1"]), ("Test Set", ["sub-S09999_ses-E01", "covid_7"])):
        for name in images:
            picture(folder / "QaTa-COV19-v2" / split / "Images" / f"{name}.png")
            picture(folder / "QaTa-COV19-v2" / split / "Ground-truths" / f"mask_{name}.png", mask((2, 5)))
    return folder


def test_qata_is_validated_on_other_patients(qata: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare_covid(qata, out, validation=6)
    assert sizes(out) == [15, 6, 2]
    content = read_datalist(out)
    training, validation = ({Path(r["image"]).name[:10] for r in content[name]} for name in ("training", "validation"))
    assert not training & validation
    assert all(np.argwhere(found).tolist() == [[0, 5, 2]] for found in labels_of(out).values())


def test_qata_names_what_is_lost_and_who_is_in_both_sets(qata: Path, capsys: pytest.CaptureFixture) -> None:
    root = qata / "QaTa-COV19-v2"
    (root / "Train Set/Ground-truths/mask_covid_1.png").unlink()
    (root / "Test Set/Images/covid_7.png").unlink()
    picture(root / "Test Set/Images/sub-S00003_ses-E07.png")
    picture(root / "Test Set/Ground-truths/mask_sub-S00003_ses-E07.png", mask())
    with pytest.raises(InputError, match="2 of 24 images"):
        prepare_covid(qata, check=True)
    printed = capsys.readouterr().out
    assert "1 patients are in both sets of the owner, such as sub-S00003." in printed
    assert "covid_1.png has no mask in Ground-truths." in printed
    assert "mask_covid_7.png has no image in Images." in printed


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"dataset_dir": "nowhere"}, "nowhere has neither 'Infection .*/Train/COVID-19/images'"),
        ({"classes": "lung"}, "classes has 'lung'; it must be of infection, lungs"),
        ({"classes": ("lungs", "heart")}, "classes has 'heart'"),
        ({"classes": "lungs"}, "masks of infection alone"),
    ],
)
def test_no_such_set_or_class_is_one_sentence(qata: Path, options: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        prepare_covid(**{"dataset_dir": qata, **options})
