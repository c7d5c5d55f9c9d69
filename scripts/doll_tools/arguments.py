"""What all commands share: arguments as fire gives them, and the folder of the bundles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_HERE = Path(__file__).resolve().parent


def path_argument(value: str | None) -> Path | None:
    """The whole path, or None where none is given."""
    return None if value is None else Path(str(value)).resolve()


def list_argument(value: Any) -> list[Any]:
    """Values with commas between, or what fire has made of them already."""
    parts = value.split(",") if isinstance(value, str) else value
    return list(parts) if isinstance(parts, (list, tuple)) else [parts]


def bundles_folder() -> Path:
    """Folder of the bundles: ``bundles`` of the checkout this code runs from, or the copy that the wheel installed."""
    checkout = _HERE.parents[1] / "bundles"
    return checkout if checkout.is_dir() else _HERE / "bundles"
