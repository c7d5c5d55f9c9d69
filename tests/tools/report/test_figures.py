"""Figures of a run: which images they show, with which numbers, and the same file each time."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from small_run import IMAGES, add_comparison

from doll_monai.utils.errors import InputError
from doll_tools.report.figures import NAMES, figure, median_pairs, scored_pairs
from doll_tools.report.labels import Labels
from doll_tools.report.run_folder import RunFolder

BEGINNINGS = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}


@pytest.mark.parametrize(("name", "kind"), zip(NAMES, ("png", "pdf", "png", "svg"), strict=True))
def test_the_same_run_gives_the_same_file(run: Path, tmp_path: Path, name: str, kind: str) -> None:
    add_comparison(run / "comparisons" / "lung", "lung")
    paths = [tmp_path / f"{number}.{kind}" for number in range(2)]
    for path in paths:
        figure(name, str(run), str(path), dpi=40)
    first, second = (path.read_bytes() for path in paths)
    assert first == second
    assert first.startswith(BEGINNINGS[kind])


def test_the_foreground_of_labels_is_compared_with_the_ground_truth(run: Path) -> None:
    pairs = scored_pairs(Labels(RunFolder(run)))
    assert pairs[["image", "observation", "iou", "seen"]].to_numpy().tolist() == [[IMAGES[0], "Lung Opacity", 1, False]]
    (run.parent / "data/truth.csv").unlink()
    with pytest.raises(InputError, match="has both a label and ground truth"):
        figure("labels", str(run), str(run / "labels.png"))


def test_the_median_image_of_the_observations_with_most_images_is_shown() -> None:
    pairs = [(name, f"{n}", n / 10) for name, count in (("Edema", 4), ("Cardiomegaly", 5)) for n in range(count)]
    table = pd.DataFrame(pairs, columns=["observation", "image", "iou"])
    assert median_pairs(table, 1).to_numpy().tolist() == [["Cardiomegaly", "2", 0.2]]
    assert median_pairs(table, 2).to_numpy().tolist() == [["Cardiomegaly", "2", 0.2], ["Edema", "1", 0.1]]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"name": "map"}, "There is no figure 'map'; there are: overview, labels, pretraining, curves."),
        ({"output": "figure.jpg"}, r"figure\.jpg must end in \.png, \.svg, \.pdf\."),
        ({"dpi": 0}, "dpi must be a whole number from 20 to 1200, not 0"),
        ({"name": "curves"}, "has no comparisons; give --comparisons"),
        ({"comparisons": "nowhere", "name": "curves"}, "nowhere holds no finished comparison"),
    ],
)
def test_mistakes_end_in_a_sentence(run: Path, tmp_path: Path, values: dict, sentence: str) -> None:
    options = {"name": "labels", "output": str(tmp_path / "figure.png"), **values}
    with pytest.raises(InputError, match=sentence):
        figure(run=str(run), **options)
    assert not (tmp_path / "figure.png").exists()


def test_what_a_figure_shows_must_be_there(run: Path) -> None:
    add_comparison(run / "comparisons" / "lung", "lung")
    (run / "comparisons/lung/cells/doll_full_shots5_seed0/scores/overlays.png").write_bytes(b"no picture")
    (run / "labels/labels.csv").unlink()
    for name, sentence in (("overview", "has no labels"), ("pretraining", "no pictures of doll/full")):
        with pytest.raises(InputError, match=sentence):
            figure(name, str(run), str(run / "figure.png"))
