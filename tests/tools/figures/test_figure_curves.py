"""Curves of fine-tuning: what is drawn is what the table says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_figures import make_comparison
from PIL import Image

from doll_monai.utils.errors import InputError
from doll_tools.compare.measured import read_task
from doll_tools.figures.fine_tuning_curves import draw_fine_tuning_curves, mean_curves, only_shots
from doll_tools.figures.saving import WIDTH, write_figure


def test_curves_are_means_over_seeds_with_the_lowest_and_the_highest(comparison: Path) -> None:
    curves = mean_curves(read_task(comparison), "full", 5)
    assert list(curves) == ["scratch", "doll"]
    scratch = curves["scratch"]
    assert scratch["iteration"].tolist() == [5, 10]
    assert scratch["mean"].tolist() == pytest.approx([0.1, 0.15])
    assert scratch["min"].tolist() == pytest.approx([0.05, 0.1])
    assert scratch["max"].tolist() == pytest.approx([0.15, 0.2])
    assert scratch["seeds"].tolist() == [2, 2]


def test_the_lines_that_are_drawn_are_the_means(comparison: Path, tmp_path: Path) -> None:
    other = make_comparison(tmp_path / "comparisons" / "covid", ("infection",))
    tasks = [read_task(comparison), read_task(other)]
    figure = draw_fine_tuning_curves(tasks)
    for axes, task in zip(figure.axes, tasks, strict=True):
        for line, curve in zip(axes.get_lines(), mean_curves(task, "full", 5).values(), strict=True):
            assert np.array_equal(line.get_xydata(), curve[["iteration", "mean"]])
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["lungs, heart\n5 annotated images, 2 seeds", "infection\n5 annotated images, 2 seeds"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["from scratch", "DoLL, end to end"]


def test_starts_with_fewer_seeds_are_not_hidden(comparison: Path) -> None:
    task = read_task(comparison)
    task.curves.drop(task.curves.index[(task.curves["init"] == "doll") & (task.curves["seed"] == 1)], inplace=True)
    assert draw_fine_tuning_curves([task]).axes[0].get_title() == "lungs, heart\n5 annotated images, 1 to 2 seeds"


@pytest.mark.parametrize("kind", ["png", "pdf", "svg"])
def test_the_same_curves_give_the_same_file(comparison: Path, tmp_path: Path, kind: str) -> None:
    paths = [tmp_path / f"{number}.{kind}" for number in range(2)]
    contents = [write_figure(draw_fine_tuning_curves([read_task(comparison)]), path, 40).read_bytes() for path in paths]
    assert contents[0] == contents[1]
    assert contents[0].startswith({"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}[kind])
    if kind == "png":
        assert Image.open(paths[0]).size[0] == WIDTH * 40


def test_a_number_of_images_must_be_there(comparison: Path) -> None:
    task = read_task(comparison)
    assert only_shots(task, "full") == 5
    with pytest.raises(InputError, match="no cell with 3 images"):
        only_shots(task, "full", 3)
    with pytest.raises(InputError, match="no cell with the tuning lora"):
        only_shots(task, "lora")
    task.curves.loc[task.curves["seed"] == 1, "shots"] = 1
    with pytest.raises(InputError, match="give --shots one of 1, 5"):
        only_shots(task, "full")
