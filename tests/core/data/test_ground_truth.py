"""Ground truth from a CSV of masks; boxes and points are in the tests of properties and of localization."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from doll_monai.data.ground_truth import GroundTruth
from doll_monai.data.label_reader import Place
from doll_monai.findings import finding_index
from doll_monai.transforms.reading import LoadRadiographd
from doll_monai.utils.errors import InputError

OPACITY = finding_index("Lung Opacity")


@pytest.mark.parametrize("place", ["data", "output"])
def test_a_mask_lies_below_the_images_or_beside_its_table_and_is_resized(tmp_path: Path, place: str) -> None:
    for folder in ("data", "output"):
        (tmp_path / folder).mkdir()
    mask = np.zeros((4, 8), bool)
    mask[:, :4] = True
    Image.fromarray(mask).save(tmp_path / place / "left.png")
    (tmp_path / "output" / "truth.csv").write_text("Path,finding,mask\nstudy1/a.png,Lung Opacity,left.png\n")
    truth = GroundTruth(tmp_path / "output" / "truth.csv", tmp_path / "data")
    assert truth.channels(tmp_path / "data/study1/a.png") == {OPACITY}
    found = truth.masks(tmp_path / "data/study1/a.png", (4, 6))[OPACITY]
    assert found.nonzero()[:, 0].unique().tolist() == [0, 1]
    assert int(found.sum()) == 2 * 6
    assert tmp_path / "data/study2/a.png" not in truth


@pytest.mark.parametrize(
    ("box", "columns", "rows"),
    [
        ("0.1,0.2,0.3,0.4", (10, 40), (20, 60)),
        ("-0.009,0,0.109,1.009", (0, 10), (0, 100)),
        ("0.5,0.9,0.505,0.1", (50, 100), (90, 100)),
        ("0.999,0,0,0", (99, 100), (0, 1)),
    ],
)
def test_a_box_is_a_part_of_its_image(box: str, columns: tuple, rows: tuple, tmp_path: Path) -> None:
    (tmp_path / "truth.csv").write_text(f"Path,finding,x,y,width,height\na.png,Lung Opacity,{box}\n")
    expected = np.zeros((100, 100), bool)
    expected[slice(*columns), slice(*rows)] = True
    found = GroundTruth(tmp_path / "truth.csv", tmp_path).masks(tmp_path / "a.png", (100, 100))[OPACITY]
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("wrong", ["-0.02", "1", "1.5", "30", "nan", "inf", "-inf", "1e400", "a", ""])
@pytest.mark.parametrize("column", range(4))
def test_a_box_that_is_none_or_beside_its_image_is_refused(column: int, wrong: str, tmp_path: Path) -> None:
    box = ["0.1", "0.1", "0.5", "0.5"]
    box[column] = wrong
    (tmp_path / "truth.csv").write_text(f"Path,finding,x,y,width,height\na.png,Lung Opacity,{','.join(box)}\n")
    with pytest.raises(InputError, match=r"truth\.csv, line 2: no known finding, or no box inside the image"):
        GroundTruth(tmp_path / "truth.csv", tmp_path)


def test_a_mask_of_another_shape_than_its_image_is_refused(tmp_path: Path) -> None:
    for name, shape in (("image.png", (20, 40)), ("half.png", (10, 20)), ("other.png", (40, 20))):
        Image.fromarray(np.eye(*shape, dtype=np.uint8) * 255).save(tmp_path / name)
    place = Place.of(LoadRadiographd()({"image": str(tmp_path / "image.png")})["image"])
    for mask in ("half", "other"):
        (tmp_path / f"{mask}.csv").write_text(f"Path,finding,mask\nimage.png,Lung Opacity,{mask}.png\n")
    half, other = (GroundTruth(tmp_path / f"{mask}.csv", tmp_path) for mask in ("half", "other"))
    assert half.masks(tmp_path / "image.png", (16, 16), place)[OPACITY].any()
    with pytest.raises(InputError, match=r"other\.png has 20 x 40 pixels, its image has 40 x 20"):
        other.masks(tmp_path / "image.png", (16, 16), place)


def test_a_json_file_is_refused_with_the_command_that_makes_a_table_of_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="doll prepare chexpert --chexlocalize"):
        GroundTruth(tmp_path / "gt_segmentations_val.json", tmp_path)
