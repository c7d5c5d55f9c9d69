"""Absolute paths are cut down to their last part, everything else stays."""

from __future__ import annotations

import pytest

from doll_tools.release.paths import without_paths


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("/home/me/model.pt", "model.pt"),
        ("/home/my name/model.pt", "model.pt"),
        ("/home/me/folder/", "folder"),
        (r"C:\Users\me\model.pt", "model.pt"),
        (r"\\server\share\model.pt", "model.pt"),
        ("~/models/model.pt", "model.pt"),
        ("file:///home/me/model.pt", "model.pt"),
        ("sqlite:////home/me/runs.db", "runs.db"),
        ("checkpoint=/home/me/model.pt, device 'cuda:0'", "checkpoint=model.pt, device 'cuda:0'"),
        ("train/patient00001/view1.png", "train/patient00001/view1.png"),
        ("https://example.org/a/b", "https://example.org/a/b"),
        ("see https://example.org/a", "see https://example.org/a"),
        ("1/2 of an image, and / or none", "1/2 of an image, and / or none"),
        ({"/a/b": ["/c/d", 3, None, True]}, {"b": ["d", 3, None, True]}),
    ],
)
def test_only_absolute_paths_are_cut(value: object, expected: object) -> None:
    assert without_paths(value) == expected
