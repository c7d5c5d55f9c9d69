"""One's own images, with a table of findings or folders of masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from preparing import all_images, counted, findings, folders, labels_of, mask, picture, read_datalist, sizes

from doll_monai.findings import FINDINGS, finding_index
from doll_monai.utils.errors import InputError
from doll_tools.prepare.folder import prepare_folder


@pytest.fixture
def table(tmp_path: Path) -> dict[str, Any]:
    return findings(tmp_path / "own")


def test_a_table_of_findings_is_prepared(table: dict, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    prepare_folder(**table, output=tmp_path / "out")
    content = read_datalist(tmp_path / "out")
    assert content["labels"] == {str(channel): name for channel, name in enumerate(FINDINGS)}
    assert sum(sizes(tmp_path / "out")) == 20
    for record in content["training"]:
        assert record["label"][finding_index("Lung Opacity")] == int(Path(record["image"]).stem[-1]) % 2
        assert record["label"][finding_index("Edema")] == -1
        assert record["label"].count(None) == 12
    printed = capsys.readouterr().out
    assert "Columns passed over: age." in printed
    assert counted(printed, "patients") == ["10", "-"]


def test_a_table_may_say_the_sections(table: dict, tmp_path: Path) -> None:
    lines = table["csv"].read_text().splitlines()
    sections = ["Section", *["training"] * 14, *["validation"] * 2, *["test"] * 4]
    text = "\n".join(f"{line},{name}" for line, name in zip(lines, sections, strict=True))
    table["csv"].write_text(text)
    prepare_folder(**table, output=tmp_path / "out")
    assert sizes(tmp_path / "out") == [14, 2, 4]
    for section, sentence in (
        ("", "section is blank in 1 of 20 rows"),
        ("test", "1 patients are in several sections, such as p0"),
        ("train", "line 2: section is 'train'; it must be training, validation, test"),
    ):
        table["csv"].write_text(text.replace(",training", f",{section}", 1))
        with pytest.raises(InputError, match=sentence):
            prepare_folder(**table)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("images/p1_3.png", "../images/p1_3.png"), r"line 5: the path '../images/p1_3.png' leads out of the data set"),
        (("images/p1_3.png", "images/p1_2.png"), "line 5: images/p1_2.png occurs twice, first in .*csv, line 4"),
        (("p1_3.png,p1,1", "p1_3.png,p1,2"), "line 5: lung_opacity is '2'; it must be 1, 0, -1 or blank"),
        (("p1_3.png,p1", "p1_3.png,"), "line 5: patient is blank"),
        (("EDEMA", "Lung Opacity"), "the columns 'lung_opacity' and 'Lung Opacity' are the same observation"),
        (("lung_opacity,EDEMA,Pleural-Effusion", "a,b,c"), "has no column of an observation"),
        (("image,", "picture,"), "has no column image"),
        (("images/p3_7.png", "images/none.png"), "line 9: The image .*/images/none.png does not exist"),
    ],
)
def test_a_mistake_in_a_table_is_one_sentence(
    table: dict, tmp_path: Path, change: tuple[str, str], sentence: str
) -> None:
    table["csv"].write_text(table["csv"].read_text().replace(*change, 1))
    with pytest.raises(InputError, match=sentence):
        prepare_folder(**table, output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return folders(tmp_path / "own")["dataset_dir"]


def test_own_masks_are_found_by_name(tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare_folder(**folders(tmp_path / "own"), output=out)
    assert read_datalist(out)["labels"] == {"0": "lungs", "1": "heart"}
    assert sizes(out) == [4, 2, 6]
    for image, found in labels_of(out).items():
        assert np.argwhere(found[0]).tolist() == [[1, 1], [6, 1]]
        assert found[1].sum() == int(image.endswith("1.jpg"))


def test_an_absent_mask_is_a_defect_unless_it_means_empty(
    own: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(InputError, match="6 of 12 images or their masks"):
        prepare_folder(own, images="images", masks="heart,lungs=right", check=True)
    printed = capsys.readouterr().out
    assert "images/p0/0.jpg has no mask in" in printed
    assert "1 images without any mask left out." in printed


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"images": "../images"}, r"images: the path '../images' leads out of the data set"),
        ({"masks": "a=/etc"}, r"masks: the path '/etc' leads out of the data set"),
        ({"masks": "a=none"}, r"The folder .*none does not exist"),
        ({"patient": "("}, r"The expression '\(' for patients cannot be read"),
        ({"patient": "x+"}, r"The expression 'x\+' for patients finds nothing in images/p0/0.jpg"),
        ({"training": 30, "validation": 1}, r"30 training and 1 validation images are asked for"),
        ({"masks": None}, "Give csv, a table of findings, or masks"),
        ({"csv": "t.csv"}, "Give csv, a table of findings, or masks"),
        ({}, r"Give output, the folder for dataset\.json, or --check"),
    ],
)
def test_a_wrong_option_is_one_sentence(own: Path, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        prepare_folder(own, **{"images": "images", "masks": "lungs=right", **options})


def test_masks_may_be_named_after_their_class_or_folder(own: Path, tmp_path: Path) -> None:
    for path in (own / "heart").rglob("*.bmp"):
        path.rename(path.with_name(f"{path.stem.removeprefix('mask_')}_ventricles.bmp"))
    for path in (own / "right").rglob("*.png"):
        path.rename(path.with_name(f"RIGHT-{path.name}"))
    prepare_folder(own, output=tmp_path / "out", images="images", masks="ventricles=heart,lungs=right+left")
    assert set(all_images(tmp_path / "out")) == {f"images/p{number}/1.jpg" for number in range(6)}


def test_masks_below_the_folder_of_the_images_are_no_images(
    own: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (own / "heart").rename(own / "images" / "heart")
    prepare_folder(own / "images", output=tmp_path / "out", masks="heart")
    assert set(all_images(tmp_path / "out")) == {f"p{number}/1.jpg" for number in range(6)}
    assert counted(capsys.readouterr().out, "images") == ["13", "-"]


def test_a_mask_belongs_to_the_image_of_its_full_name_first(tmp_path: Path) -> None:
    for name in ("1", "covid_1", "covid_2"):
        picture(tmp_path / "images" / f"{name}.png")
    for number, name in enumerate(("covid_1", "covid_2")):
        picture(tmp_path / "covid" / f"{name}.png", mask((number, 0)))
    options = {"images": "images", "masks": "infection=covid", "training": 1, "validation": 1}
    prepare_folder(tmp_path, output=tmp_path / "out", **options)
    rows = {image: np.argwhere(label)[:, 2].tolist() for image, label in labels_of(tmp_path / "out").items()}
    assert rows == {"images/covid_1.png": [0], "images/covid_2.png": [1]}
    picture(tmp_path / "covid" / "1.png")
    picture(tmp_path / "covid" / "1_covid.png")
    with pytest.raises(InputError, match="would both be the mask of"):
        prepare_folder(tmp_path, **options)
    picture(tmp_path / "covid" / "1_mask.bmp")
    with pytest.raises(InputError, match=r"covid/1.png and covid/1_mask.bmp, which are the same by name"):
        prepare_folder(tmp_path, **options)


def test_a_nifti_image_keeps_its_geometry(tmp_path: Path) -> None:
    affine, out = np.diag([0.2, 0.3, 1.0, 1.0]), tmp_path / "out"
    picture(tmp_path / "masks" / "a.png", mask((3, 4)))
    (tmp_path / "images").mkdir()
    nib.Nifti1Image(np.ones((8, 5), np.int16), affine).to_filename(tmp_path / "images/a.nii.gz")
    prepare_folder(tmp_path, images="images", masks="heart=masks", training=1, validation=0, output=out)
    label = nib.Nifti1Image.from_filename(out / read_datalist(out)["training"][0]["label"])
    assert label.shape == (8, 5, 1, 1)
    assert np.allclose(label.affine, affine)
