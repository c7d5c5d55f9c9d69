"""Where the bundles are: in the wheel's data, or in a checkout."""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).resolve().parent


def bundles_folder() -> Path:
    """Folder of the bundles: ``bundles`` of the checkout this code runs from, or the copy that the wheel installed."""
    checkout = _HERE.parents[1] / "bundles"
    return checkout if checkout.is_dir() else _HERE / "bundles"
