"""Masks of public sets: JSRT with SCR, Montgomery and Shenzhen, COVID-QU-Ex and QaTa-COV19."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from preparing import (
    SIDE,
    counted,
    images_of,
    jsrt,
    labels_of,
    lungs,
    mask,
    picture,
    qata,
    qu_ex,
    raw_image,
    read_datalist,
    sizes,
)

from doll_monai.transforms.reading import LoadRadiographd
from doll_monai.utils.errors import InputError
from doll_tools.prepare.covid import prepare_covid
from doll_tools.prepare.jsrt import prepare_jsrt
from doll_tools.prepare.lungs import prepare_lungs

HEART = "scratch/fold1/masks/heart"


def test_masks_of_scr_are_doubled_to_the_images_own_pixels(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "out"
    prepare_jsrt(**jsrt(tmp_path / "JSRT"), output=out)
    assert read_datalist(out)["labels"] == {"0": "lungs", "1": "heart", "2": "clavicles"}
    name = "All247images/JPCLN002.IMG"
    assert images_of(out)[2] == [name]
    label = labels_of(out)[name]
    loaded = LoadRadiographd("image")({"image": str(tmp_path / "JSRT" / name)})["image"]
    assert label.shape == (3, *loaded.shape[1:]) == (3, SIDE, SIDE)
    assert np.argwhere(label[1]).tolist() == [[1200, 1000], [1200, 1001], [1201, 1000], [1201, 1001]]
    assert label.sum(axis=(1, 2)).tolist() == [8, 4, 8]
    printed = capsys.readouterr().out
    assert counted(printed, "fold 1") == ["3", "124", "differs"]
    assert counted(printed, "fold 2") == ["1", "123", "differs"]


def test_the_other_fold_can_be_for_training_and_masks_can_lie_elsewhere(tmp_path: Path) -> None:
    """Images are PNG of the masks' size here, as JSRT is passed on too."""
    options, out = jsrt(tmp_path / "JSRT"), tmp_path / "out"
    (tmp_path / "JSRT/scratch").rename(tmp_path / "SCR")
    for path in (tmp_path / "JSRT/All247images").iterdir():
        picture(path.with_suffix(".png"), np.zeros((SIDE // 2, SIDE // 2), np.uint8))
        path.unlink()
    options |= {"scr_dir": tmp_path / "SCR", "classes": "heart", "validation": 0}
    prepare_jsrt(**options, output=out, train_fold=2)
    assert images_of(out)[0] == ["All247images/JPCLN002.png"]
    assert sizes(out) == [1, 0, 3]
    assert all(np.argwhere(label).tolist() == [[0, 600, 500]] for label in labels_of(out).values())


def test_check_names_what_jsrt_lacks(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    jsrt(tmp_path)
    (tmp_path / HEART / "JPCNN003.gif").unlink()
    raw_image(tmp_path / "All247images/JPCLN009.IMG")
    with pytest.raises(InputError, match="2 of 5 images or their masks"):
        prepare_jsrt(tmp_path, check=True, classes="heart")
    printed = capsys.readouterr().out
    assert "JPCNN003.IMG has no mask in heart" in printed
    assert "JPCLN009.IMG has no mask in either fold" in printed


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"train_fold": 3}, "train_fold is 3; it must be 1 or 2"),
        ({"classes": "aorta"}, "SCR has no masks of 'aorta'; it has: right_lung"),
        ({"scr_dir": "All247images"}, "has no fold1/masks of the images; scr_dir must be"),
        ({"dataset_dir": "scratch"}, r"has no image JPCLNnnn\.IMG"),
        ({}, "JPCLN002 has masks in both folds"),
    ],
)
def test_a_mistake_about_jsrt_is_one_sentence(tmp_path: Path, options: dict, sentence: str) -> None:
    jsrt(tmp_path)
    picture(tmp_path / HEART / "JPCLN002.gif")
    folders = {key: tmp_path / value for key, value in options.items() if "dir" in key}
    with pytest.raises(InputError, match=sentence):
        prepare_jsrt(**{"dataset_dir": tmp_path, **options, **folders})


def test_lungs_of_both_sets_are_joined(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "out"
    options = lungs(tmp_path / "NLM")
    picture(tmp_path / "NLM/masks/MCUCXR_0005_1_mask.png", mask((4, 4)))
    prepare_lungs(**options, output=out)
    assert sizes(out) == [2, 1, 5]
    content, found = read_datalist(out), labels_of(out)
    assert content["labels"] == {"0": "lungs"}
    assert content["name"] == "Lungs of Montgomery and Shenzhen"
    assert np.argwhere(found["MontgomerySet/CXR_png/MCUCXR_0001_1.png"]).tolist() == [[0, 1, 2], [0, 6, 1]]
    assert np.argwhere(found["MontgomerySet/CXR_png/MCUCXR_0005_1.png"]).tolist() == [[0, 4, 4]], "of both lungs"
    assert np.argwhere(found["ChinaSet_AllFiles/CXR_png/CHNCXR_0003_1.png"]).tolist() == [[0, 3, 3]]
    printed = capsys.readouterr().out
    assert "1 images without masks left out." in printed
    assert counted(printed, "Shenzhen, images") == ["4", "662", "differs"]
    assert counted(printed, "Shenzhen, with masks") == ["3", "566", "differs"]


def test_a_lung_without_the_other_is_a_defect(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    lungs(tmp_path)
    (tmp_path / "MontgomerySet/ManualMask/rightMask/MCUCXR_0002_0.png").unlink()
    picture(tmp_path / "mask/mask/CHNCXR_0001_1_mask.png", mask(shape=(5, 9)))
    with pytest.raises(InputError, match="2 of 8 images or their masks"):
        prepare_lungs(tmp_path, check=True)
    printed = capsys.readouterr().out
    assert "MCUCXR_0002_0.png has no mask in rightMask." in printed
    assert "CHNCXR_0001_1_mask.png has 9 x 5 pixels, its image" in printed


def test_lungs_that_are_there_twice_or_not_at_all_are_refused(tmp_path: Path) -> None:
    lungs(tmp_path)
    picture(tmp_path / "copy" / "CXR_png" / "MCUCXR_0001_1.png")
    with pytest.raises(InputError, match=r"CXR_png/MCUCXR_0001_1.png and copy/CXR_png/MCUCXR_0001_1.png"):
        prepare_lungs(tmp_path)
    with pytest.raises(InputError, match="has no image in a folder CXR_png with its mask"):
        prepare_lungs(tmp_path / "mask")


def test_infection_keeps_the_owners_split(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    options, out = qu_ex(tmp_path / "covidqu"), tmp_path / "out"
    (lost,) = (tmp_path / "covidqu").glob("*/*/Test/COVID-19/infection masks")
    (lost / "test_covid-19_0.png").unlink()
    prepare_covid(**options, output=out)
    assert sizes(out) == [4, 2, 1]
    assert all("/Val/COVID-19/images/" in path for path in images_of(out)[1])
    assert all(np.argwhere(found).tolist() == [[0, 7, 4]] for found in labels_of(out).values())
    assert "1 images are left out, a file is missing" in capsys.readouterr().out


def test_images_without_covid_have_no_infection(tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare_covid(**qu_ex(tmp_path), output=out, classes="lungs,infection", groups="Normal,COVID-19", training=3)
    assert read_datalist(out)["labels"] == {"0": "infection", "1": "lungs"}
    assert sizes(out) == [3, 4, 4]
    for image, found in labels_of(out).items():
        assert found.sum(axis=(1, 2)).tolist() == ["COVID-19" in image, 2]


def test_lungs_of_covid_qu_ex_are_of_all_groups(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    prepare_covid(**qu_ex(tmp_path, "Lung Segmentation Data"), output=tmp_path / "out", classes="lungs")
    assert sizes(tmp_path / "out") == [12, 6, 6]
    assert counted(capsys.readouterr().out, "Non-COVID, images") == ["8", "11,263", "differs"]


def test_qata_is_validated_on_other_images_and_names_what_is_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    options, root, out = qata(tmp_path / "QaTa"), tmp_path / "QaTa" / "QaTa-COV19-v2", tmp_path / "out"
    prepare_covid(**options, output=out)
    assert sizes(out) == [15, 6, 2]
    assert all(np.argwhere(found).tolist() == [[0, 5, 2]] for found in labels_of(out).values())
    (root / "Train Set/Ground-truths/mask_covid_1.png").unlink()
    (root / "Test Set/Images/covid_7.png").unlink()
    picture(root / "Test Set/Images/sub-S00003_ses-E07.png")
    picture(root / "Test Set/Ground-truths/mask_sub-S00003_ses-E07.png", mask())
    with pytest.raises(InputError, match="2 of 24 images"):
        prepare_covid(**options, check=True)
    printed = capsys.readouterr().out
    assert "1 patients are in both sets of the owner, such as sub-S00003." in printed
    assert "covid_1.png has no mask in Ground-truths." in printed
    assert "mask_covid_7.png has no image in Images." in printed


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"dataset_dir": "nowhere"}, "nowhere has neither 'Infection .*/Train/COVID-19/images'"),
        ({"classes": "lung"}, "classes has 'lung'; it must be of infection, lungs"),
        ({"classes": "lungs"}, "masks of infection alone"),
    ],
)
def test_no_such_covid_set_or_class_is_one_sentence(tmp_path: Path, options: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        prepare_covid(**{**qata(tmp_path), **options})
