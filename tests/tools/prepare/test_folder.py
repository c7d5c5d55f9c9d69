"""One's own images, with a table of findings or folders of masks; and what all preparations share."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from preparing import counted, labels_of, mask, picture, read_datalist, sizes, tree

from doll_monai.findings import FINDINGS, finding_index
from doll_monai.utils.errors import InputError
from doll_tools.cli import COMMANDS, main
from doll_tools.prepare.folder import prepare_folder

ROOT = Path(__file__).parents[3]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """20 images of ten patients with three observations, spelled as people do."""
    rows = ["image,Patient,lung_opacity,EDEMA,Pleural-Effusion,age"]
    for number in range(20):
        picture(tmp_path / "own" / f"images/{number}.png")
        rows.append(f"images/{number}.png,p{number // 2},{number % 2},-1,,{number}")
    (tmp_path / "findings.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "findings.csv"


def test_a_table_of_findings_is_prepared(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    own, out = tmp_path / "own", tmp_path / "out"
    before = tree(own)
    prepare_folder(own, out, csv=table, seed=2)
    assert tree(own) == before
    assert set(tree(out)) == {"dataset.json"}
    content = read_datalist(out)
    assert content["labels"] == {str(channel): name for channel, name in enumerate(FINDINGS)}
    patients = {}
    for section in ("training", "validation", "test"):
        for record in content[section]:
            number = int(Path(record["image"]).stem)
            assert patients.setdefault(number // 2, section) == section
            assert record["label"][finding_index("Lung Opacity")] == number % 2
            assert record["label"][finding_index("Edema")] == -1
            assert record["label"].count(None) == 12
    printed = capsys.readouterr().out
    assert "Columns passed over: age." in printed
    assert counted(printed, "patients") == ["10", "-"]


def test_a_table_may_say_the_sections(table: Path, tmp_path: Path) -> None:
    lines = table.read_text().splitlines()
    sections = ["Section", *["training"] * 14, *["validation"] * 2, *["test"] * 4]
    table.write_text("\n".join(f"{line},{name}" for line, name in zip(lines, sections, strict=True)))
    prepare_folder(tmp_path / "own", tmp_path / "out", csv=table)
    assert sizes(tmp_path / "out") == [14, 2, 4]
    text = table.read_text()
    table.write_text(text.replace(",training", ",", 1))
    with pytest.raises(InputError, match="section is blank in 1 of 20 rows"):
        prepare_folder(tmp_path / "own", csv=table)
    table.write_text(text.replace(",training", ",test", 1))
    with pytest.raises(InputError, match="1 patients are in several sections, such as p0"):
        prepare_folder(tmp_path / "own", csv=table)
    table.write_text(text.replace(",training", ",train", 1))
    with pytest.raises(InputError, match="line 2: section is 'train'; it must be training, validation, test"):
        prepare_folder(tmp_path / "own", csv=table)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("images/3.png", "../images/3.png"), r"line 5: the path '../images/3.png' leads out of the data set"),
        (("images/3.png", "images/2.png"), "line 5: images/2.png occurs twice, first in .*findings.csv, line 4"),
        (("images/3.png,p1,1", "images/3.png,p1,2"), "line 5: lung_opacity is '2'; it must be 1, 0, -1 or blank"),
        (("images/3.png,p1", "images/3.png,"), "line 5: patient is blank"),
        (("EDEMA", "Lung Opacity"), "the columns 'lung_opacity' and 'Lung Opacity' are the same observation"),
        (("lung_opacity,EDEMA,Pleural-Effusion", "a,b,c"), "has no column of an observation"),
        (("image,", "picture,"), "has no column image"),
        (("images/7.png", "images/none.png"), "1 of 20 images looked for do not exist .* first: images/none.png"),
    ],
)
def test_a_mistake_in_a_table_is_one_sentence(
    table: Path, tmp_path: Path, change: tuple[str, str], sentence: str
) -> None:
    table.write_text(table.read_text().replace(*change, 1))
    with pytest.raises(InputError, match=sentence):
        prepare_folder(tmp_path / "own", tmp_path / "out", csv=table)
    assert not (tmp_path / "out").exists()


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Twelve images of six patients in folders of their own; the heart is drawn in half of them."""
    folder = tmp_path / "own"
    for number in range(12):
        name = f"p{number // 2}/{number % 2}"
        picture(folder / "images" / f"{name}.jpg")
        picture(folder / "right" / f"{name}.png", mask((1, 1)))
        picture(folder / "left" / f"{name}_mask.png", mask((1, 6)))
        if number % 2:
            picture(folder / "heart" / f"p{number // 2}" / f"mask_{number % 2}.bmp", mask((3, 4)))
    picture(folder / "images" / "nobody.png")
    return folder


def test_own_masks_are_found_by_name(own: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["--dataset_dir", own, "--images", "images", "--masks", "lungs=right+left,heart", "--output", out]
    options = ["--empty_if_absent", "--patient", "p[0-9]+", "--training", 4, "--validation", 2]
    assert main(["prepare", "folder", *map(str, arguments + options)]) == 0
    content = read_datalist(out)
    assert content["labels"] == {"0": "lungs", "1": "heart"}
    assert sizes(out) == [4, 2, 6]
    training, test = ({r["image"].split("/")[1] for r in content[name]} for name in ("training", "test"))
    assert not training & test
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
    prepare_folder(own, tmp_path / "out", images="images", masks="ventricles=heart,lungs=right+left")
    assert set(labels_of(tmp_path / "out")) == {f"images/p{number}/1.jpg" for number in range(6)}


def test_masks_below_the_folder_of_the_images_are_no_images(
    own: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (own / "heart").rename(own / "images" / "heart")
    prepare_folder(own / "images", tmp_path / "out", masks="heart")
    assert set(labels_of(tmp_path / "out")) == {f"p{number}/1.jpg" for number in range(6)}
    assert counted(capsys.readouterr().out, "images") == ["13", "-"]


def test_a_mask_belongs_to_the_image_of_its_full_name_first(tmp_path: Path) -> None:
    for name in ("1", "covid_1", "covid_2"):
        picture(tmp_path / "images" / f"{name}.png")
    for number, name in enumerate(("covid_1", "covid_2")):
        picture(tmp_path / "covid" / f"{name}.png", mask((number, 0)))
    options = {"images": "images", "masks": "infection=covid", "training": 1, "validation": 1}
    prepare_folder(tmp_path, tmp_path / "out", **options)
    rows = {image: np.argwhere(label)[:, 2].tolist() for image, label in labels_of(tmp_path / "out").items()}
    assert rows == {"images/covid_1.png": [0], "images/covid_2.png": [1]}
    picture(tmp_path / "covid" / "1.png")
    picture(tmp_path / "covid" / "1_covid.png")
    with pytest.raises(InputError, match="would both be the mask of"):
        prepare_folder(tmp_path, **options)
    picture(tmp_path / "covid" / "1_mask.bmp")
    with pytest.raises(InputError, match=r"covid/1.png and covid/1_mask.bmp, which are the same by name"):
        prepare_folder(tmp_path, **options)


def _one(folder: Path, name: str, shape: tuple[int, int] = (5, 8)) -> dict[str, Any]:
    """Arguments for a folder with one image and its mask."""
    picture(folder / "masks" / f"{Path(name).stem.partition('.')[0]}.png", mask((3, 4), shape=shape))
    (folder / "images").mkdir()
    return {"images": "images", "masks": "heart=masks", "training": 1, "validation": 0, "output": folder / "out"}


def test_a_nifti_image_keeps_its_geometry(tmp_path: Path) -> None:
    affine, options = np.diag([0.2, 0.3, 1.0, 1.0]), _one(tmp_path, "a.nii.gz")
    nib.Nifti1Image(np.ones((8, 5), np.int16), affine).to_filename(tmp_path / "images/a.nii.gz")
    prepare_folder(tmp_path, **options)
    label = nib.Nifti1Image.from_filename(tmp_path / "out" / read_datalist(tmp_path / "out")["training"][0]["label"])
    assert label.shape == (8, 5, 1, 1)
    assert np.allclose(label.affine, affine)


def test_several_pages_are_no_image_and_a_bad_mask_leaves_nothing_behind(tmp_path: Path) -> None:
    options = _one(tmp_path, "a.tif", shape=(5, 9))
    page = Image.new("L", (8, 5))
    page.save(tmp_path / "images" / "a.tif", save_all=True, append_images=[page])
    with pytest.raises(InputError, match=r"a\.tif .*is no two-dimensional image"):
        prepare_folder(tmp_path, **options)
    page.save(tmp_path / "images" / "a.tif")
    with pytest.raises(InputError, match=r"a.png has 9 x 5 pixels, its image .*a.tif 8 x 5"):
        prepare_folder(tmp_path, **options)
    assert not (tmp_path / "out").exists()


def test_truncated_images_are_found_by_reading_them(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    names = ["whole.png", "whole.jpg", "cut.png", "cut.jpg", "none.png"]
    for name in names[:4]:
        content = picture(tmp_path / name, noise).read_bytes()
        (tmp_path / name).write_bytes(content[: len(content) // 2] if name.startswith("cut") else content)
    (tmp_path / "t.csv").write_text("image,Edema,section\n" + "".join(f"{name},1,test\n" for name in names))
    with pytest.raises(InputError, match="3 of 5 images"):
        prepare_folder(tmp_path, csv=tmp_path / "t.csv", check=True)
    printed = capsys.readouterr().out
    assert re.findall(r"line (\d): The image \S*/(\S+) (?:cannot be read|does not exist)", printed) == [
        ("4", "cut.png"),
        ("5", "cut.jpg"),
        ("6", "none.png"),
    ]


def test_the_commands_of_the_page_have_options_that_exist() -> None:
    text = (ROOT / "docs" / "data.md").read_text().replace("\\\n", " ")
    commands = re.findall(r"^doll (prepare \w+) (.+)$", text, re.MULTILINE)
    assert {name for name, _ in commands} == {name for name in COMMANDS if name.startswith("prepare ")}
    for name, arguments in commands:
        module, _, function = COMMANDS[name][0].partition(":")
        program = getattr(__import__(module, fromlist=[function]), function)
        assert set(re.findall(r"--(\w+)", arguments)) <= set(inspect.signature(program).parameters)


@pytest.mark.parametrize("name", sorted(name for name in COMMANDS if name.startswith("prepare ")))
def test_help_explains_every_option(name: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stop:
        main([*name.split(), "--help"])
    assert stop.value.code == 0
    module, _, function = COMMANDS[name][0].partition(":")
    program = getattr(__import__(module, fromlist=[function]), function)
    arguments = (inspect.getdoc(program) or "").partition("Args:\n")[2].partition("\n\n")[0]
    documented = re.findall(r"^    (\w+): ", arguments, re.MULTILINE)
    assert sorted(documented) == sorted(inspect.signature(program).parameters)
