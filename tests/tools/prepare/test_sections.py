"""Sections: owners' splits stay, patients stay together, few images are among the many."""

from __future__ import annotations

import pytest

from doll_monai.utils.errors import InputError
from doll_tools.prepare.sections import choose_sections, patient_section, split_images

PATIENTS = [f"p{number // 2}" for number in range(60)]
TRIPLES = [f"p{number // 3}" for number in range(60)]
OWNERS = ["training"] * 40 + ["test"] * 20
NOBODY = [None] * 60


def _counts(split: list) -> list[int]:
    return [split.count(name) for name in ("training", "validation", "test")]


def _people(split: list, section: str) -> set[str]:
    return {who for who, name in zip(PATIENTS, split, strict=True) if name == section}


def test_the_owners_test_images_stay_and_validation_is_of_other_patients() -> None:
    split = choose_sections(OWNERS, PATIENTS)
    assert split[40:] == ["test"] * 20
    assert set(split[:40]) == {"training", "validation"}
    assert not _people(split, "training") & _people(split, "validation")


@pytest.mark.parametrize("pools", [OWNERS, NOBODY])
def test_few_training_images_are_among_the_many_and_all_else_stays(pools: list) -> None:
    few, many = (choose_sections(pools, PATIENTS, training=number, validation=6, test=10) for number in (4, 30))
    assert _counts(few) == [4, 6, 10]
    assert _counts(many) == [30, 6, 10]
    for small, large in zip(few, many, strict=True):
        assert (small == "validation") == (large == "validation")
        assert (small == "test") == (large == "test")
        assert small != "training" or large == "training"
    assert pools is NOBODY or "test" not in few[:40] + many[:40]
    assert few != choose_sections(pools, PATIENTS, training=4, validation=6, test=10, seed=1)


def test_the_owners_validation_images_stay() -> None:
    pools = ["training"] * 40 + ["validation"] * 10 + ["test"] * 10
    split = choose_sections(pools, PATIENTS, training=2, validation=4)
    assert split[40:50].count("validation") == 4
    assert _counts(split) == [2, 4, 10]


def test_without_an_owner_patients_are_split_by_a_hash() -> None:
    split = choose_sections(NOBODY, PATIENTS)
    assert _counts(split) == [46, 2, 12]
    assert _people(split, "validation") == {"p2"}
    assert sum(len(_people(split, name)) for name in ("training", "validation", "test")) == 30
    assert split != choose_sections(NOBODY, PATIENTS, seed=1)


def test_sections_have_exactly_the_images_asked_for_and_share_no_patient() -> None:
    split = split_images(TRIPLES, 10, 7, 0)
    assert [*_counts(split)[:2], split.count(None)] == [10, 7, 4]
    for patient in set(TRIPLES):
        assert len({name for name, owner in zip(split, TRIPLES, strict=True) if owner == patient} - {None}) == 1


@pytest.mark.parametrize(
    ("pools", "options", "sentence"),
    [
        (NOBODY, {"training": 5}, "Give both numbers, training and validation, or neither"),
        (NOBODY, {"training": 50, "validation": 11}, "50 training and 11 validation images are asked for"),
        (OWNERS, {"training": 41, "validation": 0}, "41 training images are asked for, there are 40"),
        (OWNERS, {"validation": 41}, "0 training and 41 validation images are asked for"),
        (OWNERS, {"training": -1}, "number of training images is -1"),
        (OWNERS, {"validation": "ten"}, "number of validation images is ten"),
        (OWNERS, {"test": 0}, "number of test images is 0; it must be a whole number, 1 or more"),
        (OWNERS, {"validation_share": -0.1}, "validation_share is -0.1; it must be a number from 0 to below 1"),
    ],
)
def test_numbers_that_cannot_be_met_are_one_sentence(pools: list, options: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        choose_sections(pools, PATIENTS, **options)


def test_shares_are_met_on_average_and_the_section_is_the_same_on_every_machine() -> None:
    shares = {"validation": 0.1, "training": 0.9}
    split = [patient_section(f"patient{number:05d}", shares, 0) for number in range(2000)]
    assert 0.08 < split.count("validation") / len(split) < 0.12
    assert split != [patient_section(f"patient{number:05d}", shares, 1) for number in range(2000)]
    assert [patient_section(name, {"x": 0.5, "y": 0.5}, 0) for name in "abcd"] == ["y", "y", "y", "x"]
