"""The pictures of members' maps: what can be read of them again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from doll_monai.data.label_maps import map_sheet
from doll_monai.utils.errors import InputError
from doll_tools.report.drawing import read_map_sheet


def test_maps_are_read_as_they_were_up_to_a_level(tmp_path: Path) -> None:
    """Two members, two observations, W = 5, H = 3; each map relative to its own maximum."""
    maps = np.random.default_rng(0).random((2, 2, 5, 3)).astype(np.float32) * np.array([1, 50]).reshape(2, 1, 1, 1)
    (tmp_path / "a.png").write_bytes(map_sheet(maps, ["Edema", "Lung Opacity"]))
    read = read_map_sheet(tmp_path / "a.png", sources=3)
    assert list(read) == ["Edema", "Lung Opacity"]
    for number, observation in enumerate(read):
        for source, values in enumerate([maps.mean(0), *maps]):
            relative = values[number].T / values[number].max()
            np.testing.assert_allclose(read[observation][source] / 255, relative, atol=0.5 / 31 + 0.003)


@pytest.mark.parametrize("content", [b"no picture", map_sheet(np.ones((2, 1, 4, 4), np.float32), ["Edema"])])
def test_another_file_is_refused_in_a_sentence(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(InputError, match="is no sheet of maps of 4 members"):
        read_map_sheet(tmp_path / "a.png", sources=5)
