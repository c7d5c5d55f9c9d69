"""A run and a comparison made by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_figures import make_comparison, make_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path)


@pytest.fixture
def comparison(tmp_path: Path) -> Path:
    return make_comparison(tmp_path / "comparisons" / "jsrt", ("lungs", "heart"))
