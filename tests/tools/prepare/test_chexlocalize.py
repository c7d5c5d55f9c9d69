"""CheXlocalize's masks: run lengths by hand, of any mask, and of any content."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from any_content import json_values, masks, quick, written
from doll_monai.utils.errors import InputError
from doll_tools.prepare.chexlocalize import Mask, read_masks, run_lengths

NAME = "patient00001_study1_view1_frontal"


def test_run_lengths_by_hand() -> None:
    """5 zeros, 2 ones, 3 zeros, then 2 ones, written as 2 - 2 = 0: down the columns of 3 rows, 4 columns."""
    runs = run_lengths("5230", (4, 3))
    assert runs == [5, 2, 3, 2]
    expected = np.array([[0, 0, 1, 0], [0, 0, 0, 1], [0, 1, 0, 1]], dtype=bool)
    assert (expected == Mask(NAME, "Edema", (4, 3), runs).pixels.T).all()


def test_long_and_shrinking_runs_by_hand() -> None:
    """100 = 3 * 32 + 4 takes two groups, chr(48 + 32 + 4) and chr(48 + 3); 1 where 3 was is -2, chr(48 + 32 - 2)."""
    assert run_lengths("T331N", (105, 1)) == [100, 3, 1, 1]


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
    (tmp_path / "masks.json").write_text(json.dumps({NAME: findings}))
    with pytest.raises(InputError, match=f"{NAME}: '.*' is no known finding"):
        list(read_masks(tmp_path / "masks.json"))


@pytest.mark.parametrize("content", [b"[", b"[1]", b'{"a": 1}', b"[" * 100_000, b'{"image": ' * 50_000, b"\xff", b"\0"])
def test_a_file_of_something_else_is_explained(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "masks.json").write_bytes(content)
    with pytest.raises(InputError, match="download CheXlocalize again"):
        list(read_masks(tmp_path / "masks.json"))


def _coco(runs: list[int]) -> str:
    """COCO's compressed string of run lengths, as the format's description says."""
    text = ""
    for index, run in enumerate(runs):
        value = run - runs[index - 2] if index > 2 else run
        while True:
            group, value = value & 31, value >> 5
            last = value == (-1 if group & 16 else 0)
            text += chr(48 + group + (0 if last else 32))
            if last:
                break
    return text


@quick
@given(masks)
def test_run_lengths_come_back(mask: np.ndarray) -> None:
    flat = mask.reshape(-1)
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *edges, flat.size]).tolist()
    found = run_lengths(_coco([0, *runs] if flat[0] else runs), mask.shape)
    assert np.array_equal(Mask(NAME, "Edema", mask.shape, found).pixels, mask)


sizes = st.lists(st.integers(-3, 9) | st.floats(), max_size=3) | json_values
entries = st.fixed_dictionaries({"size": sizes, "counts": st.text("0123PQ`no", max_size=6) | json_values}) | json_values


@settings(quick, max_examples=150)
@given(st.dictionaries(st.sampled_from(["Edema", "Airspace Opacity", "Freckles"]), entries, max_size=2) | json_values)
@example({"Edema": {"size": [float("inf"), 1], "counts": "0"}})
@example({"Edema": {"size": [-1, -2], "counts": "02"}})
@example({"Edema": {"size": [2**31, 2**31], "counts": _coco([0, 2**62])}})
def test_any_masks_are_read_or_refused(findings: object) -> None:
    with written("masks.json", json.dumps({"image": findings})) as path, suppress(InputError):
        for mask in read_masks(path):
            assert mask.pixels.shape == mask.size
