"""Parameters in MLflow are named and written for readers; what is pictured stays few."""

from __future__ import annotations

import pytest

from doll_monai.handlers.tracked_parameters import LONGEST, shown_parameters, shown_value
from doll_monai.handlers.tracked_pictures import is_pictured


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "none"),
        (True, "yes"),
        (False, "no"),
        (0.001, "0.001"),
        ([224, 224], "224 x 224"),
        ([0.75, 1.0, 1.25], "0.75, 1.0, 1.25"),
        (["No Finding"], "No Finding"),
        ([], "none"),
        ({"default": 0.1}, "0.1"),
        ({"Edema": 0.2, "default": 0.1}, "0.1, Edema 0.2"),
        ("/data/run/chexpert/dataset.json", "chexpert/dataset.json"),
        ("/dataset.json", "dataset.json"),
        ("integrated_gradients", "integrated_gradients"),
        ("0123456789abcdef" * 4, "0123456789ab"),
    ],
)
def test_a_value_is_short_and_without_brackets(value: object, expected: str) -> None:
    assert shown_value(value) == expected


def test_names_are_words() -> None:
    given = {"ig_max_steps": 42, "learning_rate": 0.1, "images": 3, "cell::seed": 0, "big_network": "x"}
    assert list(shown_parameters(given)) == [
        *("IG max steps", "learning rate", "training images", "cell.seed", "big network")
    ]


def test_a_long_value_is_cut_and_says_so() -> None:
    text = shown_value(list(range(1000)))
    assert len(text) == LONGEST
    assert text.endswith("…")


def test_ever_fewer_validations_are_pictured() -> None:
    pictured = [number for number in range(1000) if is_pictured(number)]
    assert pictured[:33] == list(range(33))
    assert len([number for number in pictured if number < 160]) == 68
    assert len(pictured) < 120
