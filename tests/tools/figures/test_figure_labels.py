"""DoLLs beside the truth: which pairs are shown, with which numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_figures import IMAGES, SIZE, TRAINING_IMAGE, square
from PIL import Image

from doll_monai.findings import FOREGROUND
from doll_monai.utils.errors import InputError
from doll_tools.figures.label_pairs import Pair, label_of, label_pairs, median_pairs
from doll_tools.figures.labels_beside_truth import draw_labels_beside_truth, map_iou
from doll_tools.figures.saving import WIDTH, write_figure
from doll_tools.report.run_folder import RunFolder

IOUS = {shift: (12 - shift) / (12 + shift) for shift in (0, 4, 8, 12)}
"""Of two squares of 12 pixels that are shifted against each other."""


def test_the_foreground_alone_is_compared_with_the_truth(run: Path) -> None:
    found = {(pair.image, pair.observation): pair.iou for pair in label_pairs(RunFolder(run), "validation")}
    assert found == {
        (IMAGES[0], "Cardiomegaly"): pytest.approx(IOUS[4]),
        (IMAGES[1], "Cardiomegaly"): pytest.approx(IOUS[8]),
        (IMAGES[2], "Cardiomegaly"): pytest.approx(IOUS[12]),
        (IMAGES[0], "Edema"): pytest.approx(IOUS[4]),
        (IMAGES[1], "Edema"): pytest.approx(IOUS[8]),
    }


def test_other_sections_are_left_out(run: Path) -> None:
    pairs = label_pairs(RunFolder(run), "training")
    assert {pair.image for pair in pairs} == {TRAINING_IMAGE}
    assert [pair.iou for pair in pairs] == [1.0, 1.0]


def test_the_median_image_of_each_observation_is_shown(run: Path) -> None:
    shown = median_pairs(label_pairs(RunFolder(run), "validation"), 6)
    assert [(pair.observation, pair.image) for pair in shown] == [("Cardiomegaly", IMAGES[1]), ("Edema", IMAGES[1])]


def test_the_observations_with_most_images_come_first_and_a_image_is_shown_once() -> None:
    pairs = [Pair(f"{n}", "Edema", n / 10) for n in range(3)] + [Pair(f"{n}", "Cardiomegaly", n / 10) for n in range(5)]
    assert [pair.observation for pair in median_pairs(pairs, 1)] == ["Cardiomegaly"]
    clash = [Pair(f"{n}", "Edema", n / 10) for n in range(5)]
    assert [pair.image for pair in median_pairs([*pairs[3:], *clash], 2)] == ["2", "1"]


def test_an_equal_number_of_pixels_of_a_map_is_compared() -> None:
    evidence = np.where(square(9, 4), 2.0, 0.0) + np.where(square(9, 8), 1.0, 0.0)
    assert map_iou(evidence, 144, square(9, 4)) == 1.0
    assert map_iou(evidence, 72, square(9, 4)) == pytest.approx(0.5)


def test_the_figure_is_a_picture_of_its_size_and_always_the_same(run: Path, tmp_path: Path) -> None:
    folder = RunFolder(run)
    pairs = median_pairs(label_pairs(folder, "validation"), 2)
    maps = {
        pair.image: np.tile((label_of(folder, pair.image) == FOREGROUND).astype(float), (3, 1, 1, 1)) for pair in pairs
    }
    contents = []
    for number in range(2):
        figure = draw_labels_beside_truth(folder, pairs, maps, "caption")
        contents.append(write_figure(figure, tmp_path / f"{number}.png", 50).read_bytes())
    assert contents[0] == contents[1]
    assert Image.open(tmp_path / "0.png").size[0] == WIDTH * 50
    texts = [axes.get_xlabel() for axes in figure.axes]
    assert texts.count("IoU 0.20") == 6  # label and two maps, of both observations
    assert [axes.get_ylabel() for axes in figure.axes][::2] == [
        "image and truth",
        "map of densenet",
        "map of resnet",
        "DoLL and truth",
    ]


def test_images_without_known_places_end_with_a_sentence(run: Path) -> None:
    (run.parent / "data/truth.csv").unlink()
    with pytest.raises(InputError, match=r"truth\.csv, boxes\.csv"):
        label_pairs(RunFolder(run), "validation")


def test_boxes_are_known_places_too(run: Path) -> None:
    data = run.parent / "data"
    (data / "truth.csv").unlink()
    box = ",".join(str(value / SIZE) for value in (4, 9, 12, 12))
    (data / "boxes.csv").write_text(f"Path,finding,x,y,width,height\n{TRAINING_IMAGE},Edema,{box}\n")
    assert label_pairs(RunFolder(run), "training") == [Pair(TRAINING_IMAGE, "Edema", 1.0)]
