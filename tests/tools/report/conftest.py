"""A run for every test of the page."""

from pathlib import Path

import pytest
from small_run import make_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a small run; its images are in ``data`` beside it."""
    return make_run(tmp_path)
