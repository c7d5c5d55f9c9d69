"""Where the app itself is tried."""

from __future__ import annotations

import importlib
import importlib.util

import pytest


@pytest.mark.skipif(
    importlib.util.find_spec("monailabel") is None,
    reason="MONAI Label is not installed here; `make label-test` tries the server in its own environment",
)
def test_monai_label_takes_the_app() -> None:
    start = importlib.import_module("doll_tools.annotate.start")
    start._stand_in_for_torchvision()
    app = importlib.import_module("doll_tools.annotate.app")
    base = importlib.import_module("monailabel.interfaces.app").MONAILabelApp
    assert issubclass(app.DollLabelApp, base)
