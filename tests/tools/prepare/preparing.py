"""What the tests of preparations share: small pictures, whole trees before and after, programs run in this process."""

from __future__ import annotations

import hashlib
import json
import logging
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[3]


def picture(path: Path, pixels: np.ndarray | None = None) -> Path:
    """A grey picture, 8 x 5 by default."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((5, 8), 77, np.uint8) if pixels is None else pixels).save(path)
    return path


def mask(*pixels: tuple[int, int], shape: tuple[int, int] = (5, 8), value: int = 255) -> np.ndarray:
    """(row, column) pixels of foreground."""
    result = np.zeros(shape, np.uint8)
    for pixel in pixels:
        result[pixel] = value
    return result


def tree(folder: Path) -> dict[str, str]:
    """Every file below a folder, and a hash of its content."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def run_program(monkeypatch: pytest.MonkeyPatch, name: str, *arguments: Any) -> None:
    """Run a program of ``scripts`` as the command line does, but in this process."""
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(logging, "_logRecordFactory", logging.getLogRecordFactory())
    runpy.run_path(str(ROOT / "scripts" / f"{name}.py"), run_name="__main__")


def read_datalist(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content
