"""What the tests of preparations share: small pictures, whole trees before and after, what a datalist holds."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from doll_monai.transforms.reading import LoadLabeld

SECTIONS = ("training", "validation", "test")


def picture(path: Path, pixels: np.ndarray | None = None, **options: Any) -> Path:
    """A gray picture, 8 x 5 by default."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((5, 8), 77, np.uint8) if pixels is None else pixels).save(path, **options)
    return path


def mask(*pixels: tuple[int, int], shape: tuple[int, int] = (5, 8)) -> np.ndarray:
    """(row, column) pixels of foreground."""
    result = np.zeros(shape, np.uint8)
    for pixel in pixels:
        result[pixel] = 255
    return result


def tree(folder: Path) -> dict[str, str]:
    """Every file below a folder, and a hash of its content."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def read_datalist(output: Path) -> dict[str, Any]:
    """A data set as it was written; sections that are left out are empty."""
    content = json.loads((output / "dataset.json" if output.is_dir() else output).read_text())
    return {**{section: [] for section in SECTIONS}, **content}


def sizes(output: Path) -> list[int]:
    """Numbers of training, validation and test images."""
    return [len(read_datalist(output)[section]) for section in SECTIONS]


def labels_of(output: Path) -> dict[str, np.ndarray]:
    """Every image of a datalist and its label, (C, W, H), as the bundles read it."""
    load, content = LoadLabeld("label"), read_datalist(output)
    records = [record for section in SECTIONS for record in content[section]]
    return {item["image"]: np.asarray(load({"label": str(output / item["label"])})["label"]) for item in records}


def counted(printed: str, what: str) -> list[str]:
    """Numbers of one thing as they were printed: found, published, and a word where they differ."""
    (line,) = (line for line in printed.splitlines() if line.startswith(f"{what}  "))
    return line.removeprefix(what).split()
