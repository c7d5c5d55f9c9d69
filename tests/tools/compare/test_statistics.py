"""Means and differences against values worked by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from doll_monai.utils.errors import InputError
from doll_tools.compare.cells import Cell, epochs, grid, values_of
from doll_tools.compare.results import differences, iterations_to_95, summarize, with_class_means


def _table(values: list[list[float]], **columns: object) -> pd.DataFrame:
    """A row a seed (outer list) and image; every image is a patient."""
    rows = [
        {"seed": seed, "image": f"f{image}", "patient": f"p{image}", "iou": value}
        for seed, images in enumerate(values)
        for image, value in enumerate(images)
    ]
    return pd.DataFrame(rows).assign(dice=lambda rows: rows["iou"], hd95=lambda rows: 1 - rows["iou"], **columns)


def _images() -> pd.DataFrame:
    """Two initializations; the tuning that is best on valid images is not the one that is best on test images."""
    parts = []
    scores = {("scratch", "full"): (0.2, 0.3), ("doll", "full"): (0.4, 0.9), ("doll", "head"): (0.5, 0.6)}
    for (name, tuning), by_split in scores.items():
        for split, value in zip(("valid", "test"), by_split, strict=True):
            for kind, shift in (("lungs", 0.1), ("heart", -0.1)):
                cell = {"initialization": name, "tuning": tuning, "shots": 5, "split": split, "class": kind}
                parts.append(_table([[value + shift] * 3] * 2, **cell))
    return pd.concat(parts, ignore_index=True)


def test_cells_that_differ_in_one_thing_are_compared_and_tunings_chosen_on_valid_images_alone() -> None:
    rows = differences(with_class_means(_images())).query("split == 'test' and `class` == 'all'")
    assert rows.set_index(["first", "second", "chosen"])["iou"].to_dict() == pytest.approx(
        {
            ("doll/full", "scratch/full", ""): 0.6,
            ("doll/head", "doll/full", ""): -0.3,
            ("doll/head", "scratch/full", "best on valid"): 0.3,
        }
    )


def test_differences_are_paired_by_seed_and_image() -> None:
    cell = {"tuning": "full", "shots": 1, "split": "valid", "class": "lungs"}
    scratch = _table([[0.4, 0.8], [0.3, 0.7], [0.0, 0.0]], initialization="scratch", **cell)
    doll = _table([[0.5, 0.9], [0.4, 0.8]], initialization="doll", **cell).sample(frac=1, random_state=0)
    row = differences(with_class_means(pd.concat([scratch, doll]))).iloc[0]
    assert row[["iou", "iou_low", "iou_high"]].tolist() == pytest.approx([0.1] * 3)
    assert row[["first", "seeds", "images"]].tolist() == ["doll/full", 2, 2]


def test_summary_counts_seeds_and_images_and_has_the_mean_over_classes() -> None:
    rows = summarize(with_class_means(_images())).query("split == 'test' and tuning == 'full'")
    rows = rows.set_index(["initialization", "class"])
    assert set(map(tuple, rows[["seeds", "images"]].to_numpy())) == {(2, 3)}
    assert rows.loc["doll", "hd95"].to_dict() == pytest.approx({"all": 0.1, "lungs": 0.0, "heart": 0.2})


def test_iterations_are_read_off_the_curve() -> None:
    curve = pd.DataFrame({"iteration": [10, 20, 30, 40], "iou": [0.1, 0.77, 0.75, 0.8]})
    assert iterations_to_95(curve) == 20
    assert np.isnan(iterations_to_95(curve.iloc[:0]))


def test_grid_goes_seed_by_seed() -> None:
    names = [cell.name for cell in grid(["a", "b"], ["full"], [1, 5], 2)]
    assert names[:3] == ["a_full_shots1_seed0", "b_full_shots1_seed0", "a_full_shots5_seed0"]
    assert [name[-1] for name in names] == ["0"] * 4 + ["1"] * 4


def test_values_of_cells_are_found_by_pattern() -> None:
    patterns = {"*/full": {"lr": 1, "decay": 2}, "doll/*": {"lr": 3}}
    assert values_of(Cell("doll", "full", 1, 0), patterns) == {"lr": 3, "decay": 2}
    assert values_of(Cell("scratch", "head", 1, 0), patterns) == {}


@pytest.mark.parametrize(("iterations", "expected"), [(200, (20, 10)), (20, (20, 1)), (7, (7, 1))])
def test_epochs_make_up_the_iterations(iterations: int, expected: tuple[int, int]) -> None:
    assert epochs(iterations) == expected
    with pytest.raises(InputError, match="multiple of 20"):
        epochs(iterations * 20 + 1)
