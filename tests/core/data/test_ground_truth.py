"""Ground truth from a CSV of masks; boxes and points are in the tests of properties and of localization."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from doll_monai.data.ground_truth import GroundTruth
from doll_monai.findings import finding_index
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


def test_a_json_file_is_refused_with_the_command_that_makes_a_table_of_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="doll prepare chexpert --chexlocalize"):
        GroundTruth(tmp_path / "gt_segmentations_val.json", tmp_path)
