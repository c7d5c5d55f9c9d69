"""What all preparations share: counts beside published ones, sections, one's own tables, reading every image."""

from __future__ import annotations

import inspect
import re
import runpy
from pathlib import Path

import numpy as np
import pytest
from preparing import ROOT, mask, picture, read_datalist, run_program, tree

from doll_monai.findings import FINDINGS, finding_index
from doll_monai.utils.errors import InputError
from doll_tools.prepare.own_table import prepare_table
from doll_tools.prepare.preparation import Prepared, Radiograph, defects, finish
from doll_tools.prepare.published import Count, count_table, count_warning
from doll_tools.prepare.sections import choose_sections

PATIENTS = [f"p{number // 2}" for number in range(60)]
OWNERS = ["training"] * 40 + ["test"] * 20


def test_numbers_that_differ_are_marked_and_told_in_one_line() -> None:
    counts = [Count("images", 1234, 1235), Count("masks", 7), Count("patients", 5, 5)]
    lines = count_table(counts).splitlines()
    assert [line.split() for line in lines] == [
        ["found", "published"],
        ["images", "1,234", "1,235", "differs"],
        ["masks", "7", "-"],
        ["patients", "5", "5"],
    ]
    warning = count_warning(counts)
    assert warning is not None
    assert warning.startswith("1 of 2 published numbers differ, such as images: 1,234 found, 1,235 published")
    assert "\n" not in warning
    assert count_warning(counts[1:]) is None


def _people(split: list, section: str | None) -> set[str]:
    return {who for who, name in zip(PATIENTS, split, strict=True) if name == section}


def test_the_owners_test_images_stay_and_validation_is_of_other_patients() -> None:
    split = choose_sections(OWNERS, PATIENTS)
    assert split[40:] == ["test"] * 20
    assert set(split[:40]) == {"training", "validation"}
    assert not _people(split, "training") & _people(split, "validation")


def test_few_training_images_are_among_the_many_and_none_becomes_a_test_image() -> None:
    few, many = (choose_sections(OWNERS, PATIENTS, training=number, validation=6, test=10) for number in (4, 30))
    for split, number in ((few, 4), (many, 30)):
        assert [split.count(name) for name in ("training", "validation", "test")] == [number, 6, 10]
        assert "test" not in split[:40]
    for small, large in zip(few, many, strict=True):
        assert (small == "validation") == (large == "validation")
        assert (small == "test") == (large == "test")
        assert small != "training" or large == "training"


def test_the_owners_validation_images_stay() -> None:
    pools = ["training"] * 40 + ["validation"] * 10 + ["test"] * 10
    split = choose_sections(pools, PATIENTS, training=2, validation=4)
    assert split[40:50].count("validation") == 4
    assert [split.count(name) for name in ("training", "validation", "test")] == [2, 4, 10]


def test_without_an_owner_patients_are_split() -> None:
    split = choose_sections([None] * 60, PATIENTS)
    people = [_people(split, name) for name in ("training", "validation", "test")]
    assert all(people)
    assert sum(map(len, people)) == 30
    assert split != choose_sections([None] * 60, PATIENTS, seed=1)


@pytest.mark.parametrize(
    ("pools", "options", "sentence"),
    [
        ([None] * 60, {"training": 5}, "Give both numbers, training and validation, or neither"),
        ([None] * 60, {"training": 50, "validation": 11}, "50 training and 11 validation images are asked for"),
        (OWNERS, {"training": 41, "validation": 0}, "41 training images are asked for, there are 40"),
        (OWNERS, {"validation": 41}, "0 training and 41 validation images are asked for"),
        (OWNERS, {"training": -1}, "number of training images is -1"),
        (OWNERS, {"validation": "ten"}, "number of validation images is ten"),
        (OWNERS, {"test": 0}, "test must be a number of images of at least 1"),
    ],
)
def test_numbers_that_cannot_be_met_are_one_sentence(pools: list, options: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        choose_sections(pools, PATIENTS, **options)


def _masked(folder: Path, *names: str) -> Prepared:
    for name in names:
        picture(folder / name)
    picture(folder / "mask.png", mask((1, 2)))
    return Prepared(
        "own", folder, [Radiograph(name, "test", masks={"a": ["mask.png"]}) for name in names], classes=["a"]
    )


def test_a_bad_mask_leaves_nothing_behind(tmp_path: Path) -> None:
    prepared = _masked(tmp_path / "own", "1.png", "2.png")
    picture(tmp_path / "own" / "2.png", np.zeros((6, 8), np.uint8))
    with pytest.raises(InputError, match=r"mask.png has 8 x 5 pixels, its image .*2.png 8 x 6"):
        finish(prepared, tmp_path / "out", check=False)
    assert not (tmp_path / "out").exists()


def test_two_images_of_one_label_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a.jpg and a.png would have the same label file"):
        finish(_masked(tmp_path, "a.png", "a.jpg"), tmp_path / "out", check=False)


def test_truncated_images_are_found_by_reading_them(tmp_path: Path) -> None:
    noise = np.random.RandomState(0).randint(0, 255, (64, 64), np.uint8)
    names = ["whole.png", "whole.jpg", "cut.png", "cut.jpg", "none.png"]
    for name in names[:4]:
        content = picture(tmp_path / name, noise).read_bytes()
        if name.startswith("cut"):
            (tmp_path / name).write_bytes(content[: len(content) // 2])
    prepared = Prepared("own", tmp_path, [Radiograph(name, "test", values=[None] * 14) for name in names])
    found = defects(prepared)
    assert [sentence.split(" cannot be read")[0].rsplit("/")[-1] for sentence in found[:2]] == ["cut.png", "cut.jpg"]
    assert len(found) == 3
    assert "none.png does not exist" in found[2]


def test_output_is_needed_to_write(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Give output, the folder for dataset\.json, or --check"):
        finish(_masked(tmp_path, "1.png"), None, check=False)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """20 images of ten patients with three observations, spelled as people do."""
    rows = ["image,patient,lung_opacity,EDEMA,Pleural-Effusion,age"]
    for number in range(20):
        picture(tmp_path / "own" / f"images/{number}.png")
        rows.append(f"images/{number}.png,p{number // 2},{number % 2},-1,,{number}")
    (tmp_path / "findings.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "findings.csv"


def test_a_table_of_findings_is_prepared(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    own, out = tmp_path / "own", tmp_path / "out"
    before = tree(own)
    run_program(monkeypatch, "prepare_folder", "--dataset_dir", own, "--csv", table, "--output", out)
    assert tree(own) == before
    assert set(tree(out)) == {"dataset.json"}
    content = read_datalist(out / "dataset.json")
    assert content["labels"] == {str(channel): name for channel, name in enumerate(FINDINGS)}
    records = {record["image"]: record["label"] for name in ("training", "test") for record in content[name]}
    for image, label in records.items():
        assert label[finding_index("Lung Opacity")] == int(Path(image).stem) % 2
        assert label[finding_index("Edema")] == -1
        assert [value for value in label if value is None] == [None] * 12
    assert "Columns passed over: age." in capsys.readouterr().out


def test_a_table_may_say_the_sections(table: Path, tmp_path: Path) -> None:
    lines = table.read_text().splitlines()
    sections = ["section", *["training"] * 14, *["validation"] * 2, *["test"] * 4]
    table.write_text("\n".join(f"{line},{name}" for line, name in zip(lines, sections, strict=True)))
    assert [image.section for image in prepare_table(tmp_path / "own", table).images] == sections[1:]
    table.write_text(table.read_text().replace(",training", ",", 1))
    with pytest.raises(InputError, match="section is blank in 1 of 20 rows"):
        prepare_table(tmp_path / "own", table)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("images/3.png", "../images/3.png"), r"line 5: the path '../images/3.png' leads out of the data set"),
        (("images/3.png", "images/2.png"), "line 5: images/2.png occurs twice, first in line 4"),
        (("images/3.png,p1,1", "images/3.png,p1,2"), "line 5: lung_opacity is '2'; it must be 1, 0, -1 or blank"),
        (("images/3.png,p1", "images/3.png,"), "line 5: patient is blank"),
        (("EDEMA", "Lung Opacity"), "the columns 'lung_opacity' and 'Lung Opacity' are the same observation"),
        (("lung_opacity,EDEMA,Pleural-Effusion", "a,b,c"), "has no column of an observation"),
        (("image,", "image,"), "has no column image"),
    ],
)
def test_a_mistake_in_a_table_is_one_sentence(table: Path, change: tuple[str, str], sentence: str) -> None:
    table.write_text(table.read_text().replace(*change, 1))
    with pytest.raises(InputError, match=sentence):
        prepare_table(table.parent / "own", table)


def test_a_image_of_a_table_that_is_missing_stops_everything(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own" / "images" / "7.png").unlink()
    with pytest.raises(InputError, match=r"1 of 20 images looked for do not exist .* first: images/7.png"):
        run_program(
            monkeypatch, "prepare_folder", "--dataset_dir", tmp_path / "own", "--csv", table, "--output", tmp_path / "o"
        )
    assert not (tmp_path / "o").exists()
    with pytest.raises(InputError, match="Give csv, a table of findings, or masks"):
        run_program(monkeypatch, "prepare_folder", "--dataset_dir", tmp_path / "own", "--output", tmp_path / "o")


def test_the_commands_of_the_page_have_the_programs_options() -> None:
    text = (ROOT / "docs" / "data.md").read_text().replace("\\\n", " ")
    commands = re.findall(r"^    python scripts/(\w+)\.py (.+)$", text, re.MULTILINE)
    prepared = {f"prepare_{name}" for name in ("chexpert", "nih", "jsrt", "lungs", "covid", "folder")}
    assert {name for name, _ in commands} == prepared | {"benchmark_scale"}
    for name, arguments in commands:
        program = runpy.run_path(str(ROOT / "scripts" / f"{name}.py"))[name if name in prepared else "benchmark"]
        assert set(re.findall(r"--(\w+)", arguments)) <= set(inspect.signature(program).parameters)
