"""CheXlocalize's masks: decoding by hand, and as the truth of images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from doll_monai.data.ground_truth import GroundTruth
from doll_monai.data.run_lengths import RunLengths
from doll_monai.findings import finding_index
from doll_monai.utils.errors import InputError

IMAGE = "valid/patient00001/study1/view1_frontal.jpg"
NAME = "patient00001_study1_view1_frontal"
OPACITY = finding_index("Lung Opacity")


def _file(folder: Path, findings: dict) -> Path:
    path = folder / "gt_segmentations_val.json"
    path.write_text(json.dumps({NAME: findings}))
    return path


def test_run_lengths_by_hand() -> None:
    """5 zeros, 2 ones, 3 zeros, then 2 ones, written as 2 - 2 = 0: down the columns of 3 rows, 4 columns."""
    place = RunLengths.from_coco("5230", (4, 3))
    assert place.runs == (5, 2, 3, 2)
    expected = np.array([[0, 0, 1, 0], [0, 0, 0, 1], [0, 1, 0, 1]], dtype=bool)
    assert (expected == place.mask().T).all()


def test_long_and_shrinking_runs_by_hand() -> None:
    """100 = 3 * 32 + 4 takes two groups, chr(48 + 32 + 4) and chr(48 + 3); 1 where 3 was is -2, chr(48 + 32 - 2)."""
    assert RunLengths.from_coco("T331N", (105, 1)).runs == (100, 3, 1, 1)


def test_an_image_is_found_by_its_name_and_resized(tmp_path: Path) -> None:
    """Edema's mask is empty: no ground truth."""
    left_half = {"size": [4, 8], "counts": "0`0`0"}
    path = _file(tmp_path, {"Airspace Opacity": left_half, "Edema": {"size": [4, 8], "counts": "P1"}})
    truth = GroundTruth(path, tmp_path)
    assert truth.channels(tmp_path / IMAGE) == {OPACITY}
    masks = truth.masks(tmp_path / IMAGE, (4, 6))
    assert list(masks) == [OPACITY]
    assert masks[OPACITY][:2].all()
    assert not masks[OPACITY][2:].any()
    assert tmp_path / IMAGE in truth
    assert tmp_path / IMAGE.replace("study1", "study2") not in truth


@pytest.mark.parametrize(
    "findings",
    [
        {"Freckles": {"size": [4, 8], "counts": "P1"}},
        {"Edema": {"size": [4, 9], "counts": "P1"}},
        {"Edema": {"counts": "P1"}},
        {"Edema": {"size": [4, 8], "counts": "P"}},
        {"Edema": {"size": [4, 8], "counts": "\u00e9"}},
        {"Edema": None},
    ],
)
def test_a_broken_mask_is_explained(tmp_path: Path, findings: dict) -> None:
    with pytest.raises(InputError, match=f"{NAME}: '.*' is no known finding"):
        GroundTruth(_file(tmp_path, findings), tmp_path)


@pytest.mark.parametrize("content", [b"[", b"[1]", b'{"a": 1}', b"[" * 100_000, b'{"image": ' * 50_000, b"\xff", b"\0"])
def test_a_file_of_something_else_is_explained(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "truth.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match="no JSON of images"):
        GroundTruth(path, tmp_path)
