"""Sections of patients by a hash of their names."""

from __future__ import annotations

import pytest

from doll_monai.utils.errors import InputError
from doll_tools.prepare.patients import split_patients

PATIENTS = [f"patient{number:05d}" for number in range(2000)]
SHARES = {"validation": 0.1, "training": 0.9}


def test_new_patients_move_nobody() -> None:
    few, many = split_patients(PATIENTS[::3], SHARES, 0), split_patients(PATIENTS, SHARES, 0)
    assert few == {patient: many[patient] for patient in few}


def test_shares_are_met_on_average_and_the_seed_matters() -> None:
    split = split_patients(PATIENTS, SHARES, 0)
    assert 0.08 < list(split.values()).count("validation") / len(PATIENTS) < 0.12
    assert split != split_patients(PATIENTS, SHARES, 1)
    assert set(split_patients(PATIENTS, {"training": 1, "validation": 0}, 0).values()) == {"training"}


def test_the_split_is_the_same_on_every_machine() -> None:
    assert split_patients(["a", "b", "c", "d"], {"x": 0.5, "y": 0.5}, 0) == {"a": "y", "b": "y", "c": "y", "d": "x"}


@pytest.mark.parametrize("shares", [{}, {"a": 0.5}, {"a": 1.5, "b": -0.5}])
def test_shares_must_add_up(shares: dict[str, float]) -> None:
    with pytest.raises(InputError, match="add up to 1"):
        split_patients(PATIENTS, shares, 0)
