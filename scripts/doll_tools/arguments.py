"""Arguments of the command-line programs, as fire gives them."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def path_argument(value: str | None) -> Path | None:
    """The whole path, or None where none is given."""
    return None if value is None else Path(str(value)).resolve()


def list_argument(value: Any) -> list[Any]:
    """Values with commas between, or what fire has made of them already."""
    parts = value.split(",") if isinstance(value, str) else value
    return list(parts) if isinstance(parts, (list, tuple)) else [parts]
