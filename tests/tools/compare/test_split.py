"""The split never changes, keeps patients apart, and more shots hold the fewer ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from doll_monai.utils.errors import InputError
from doll_tools.compare.split import (
    ImageTable,
    Radiograph,
    check_apart,
    data_hash,
    first_shots,
    read_images,
    sections_of,
)

IMAGES = [Radiograph(f"image{number}.png", f"patient{number // 2}", ()) for number in range(40)]
CLASSES = {"lungs": ("right", "left")}
GOLDEN = {"training": [0, 3, 6, 10, 12, 13, 15], "validation": [7, 9, 14, 16], "test": [1, 2, 4, 5, 8, 11, 17, 18, 19]}
"""Patients of each section; another split would let test images of earlier measurements be learnt from."""
GOLDEN_SHOTS = ["image6.png", "image24.png", "image16.png"]


def _folder(path: Path, rows: list[str], header: str = "image,right,left,patient") -> Path:
    path.mkdir(exist_ok=True)
    (path / "index.csv").write_text("\n".join([header, *rows]) + "\n")
    return path


def test_split_is_the_one_that_it_always_was() -> None:
    sections = sections_of(IMAGES)
    patients = {name: sorted({int(image.patient[7:]) for image in images}) for name, images in sections.items()}
    assert patients == GOLDEN
    assert sum(map(len, sections.values())) == len(IMAGES)


def test_order_and_company_do_not_move_a_patient() -> None:
    before, after = sections_of(IMAGES), sections_of(IMAGES[::-1][:30])
    assert all(set(after[name]) <= set(before[name]) for name in before)


def test_shots_are_nested_and_depend_on_the_seed() -> None:
    orders = [first_shots(IMAGES, 10, seed) for seed in range(4)]
    for seed, order in enumerate(orders):
        assert first_shots(IMAGES[::-1], 3, seed) == order[:3]
    assert len({tuple(order) for order in orders}) == 4
    assert [image.image for image in orders[0][:3]] == GOLDEN_SHOTS
    with pytest.raises(InputError, match="41 shots are asked for; there are 40 training images"):
        first_shots(IMAGES, 41, 0)


def test_a_fold_is_tested_and_the_others_are_learnt_from() -> None:
    folds = [image._replace(fold="odd" if number // 2 % 2 else "even") for number, image in enumerate(IMAGES)]
    sections = sections_of(folds, "odd")
    assert {image.fold for image in sections["test"]} == {"odd"}
    assert len(sections["test"]) == 20
    assert {image.fold for name in ("training", "validation") for image in sections[name]} == {"even"}
    with pytest.raises(InputError, match=r"No fold 'third' .* has: even, odd"):
        sections_of(folds, "third")
    with pytest.raises(InputError, match="No fold 'odd'"):
        sections_of([*folds[:-1], folds[-1]._replace(fold="even")], "odd")


def test_a_section_without_images_is_refused() -> None:
    with pytest.raises(InputError, match="1 images of 1 patients leave none for"):
        sections_of(IMAGES[:1])


def test_table_gives_patients_and_masks(tmp_path: Path) -> None:
    folder = _folder(tmp_path, ["a.png,r.png,,p1", "b.png,,l.png,p1"])
    images = [Radiograph("a.png", "p1", ("r.png",)), Radiograph("b.png", "p1", ("l.png",))]
    assert read_images(folder, CLASSES) == ImageTable(folder, CLASSES, images)
    alone = _folder(tmp_path, ["a.png,r.png,"], "image,right,left")
    assert read_images(alone, CLASSES).images[0].patient == "a.png"


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (["a.png,r.png,,"], "line 2: patient is blank"),
        (["../a.png,,,p"], "leads out of the data set"),
        ([], "has no rows"),
    ],
)
def test_mistakes_in_the_table_are_named(tmp_path: Path, rows: list[str], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        read_images(_folder(tmp_path, rows), CLASSES)


def test_the_same_picture_in_two_sections_is_refused(tmp_path: Path) -> None:
    images = [Radiograph(name, name, ()) for name in ("a.png", "b.png", "c.png")]
    for image, content in zip(images, (b"1", b"1", b"2"), strict=True):
        (tmp_path / image.image).write_bytes(content)
    check_apart({"training": (tmp_path, images[:2]), "test": (tmp_path, images[2:])})
    with pytest.raises(InputError, match=r"b\.png \(test\) has the same content as a\.png \(training\)"):
        check_apart({"training": (tmp_path, images[:1]), "test": (tmp_path, images[1:])})


def test_hash_of_the_data_sees_masks_and_patients(tmp_path: Path) -> None:
    def found(patient: str, image: str = "a.png") -> str:
        return data_hash(ImageTable(tmp_path, CLASSES, [Radiograph(image, patient, ("m.png",))]))

    for name in ("a.png", "m.png"):
        (tmp_path / name).write_bytes(b"1")
    first = found("p")
    assert found("q") != first
    (tmp_path / "m.png").write_bytes(b"2")
    assert found("p") != first
    with pytest.raises(InputError, match=r"x\.png cannot be read"):
        found("p", "x.png")
