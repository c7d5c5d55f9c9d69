"""Pages of Markdown: a template, its tables, and numbers with their intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2


def render(template: Path, **values: Any) -> str:
    """The page that a template becomes."""
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(template.read_text(encoding="utf-8")).render(values).rstrip() + "\n"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose columns line up in a terminal."""
    widths = [max(3, *map(len, cells)) for cells in zip(header, *rows, strict=True)]
    lines = [header, ["-" * width for width in widths], *rows]
    padded = ([cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in padded)


def number(value: float, form: str = ".3f") -> str:
    """A number, or nothing for NaN."""
    return "" if math.isnan(value) else f"{value:{form}}"


def interval(row: Mapping[Any, Any], name: str, form: str = ".3f") -> str:
    """A value with its interval, such as ``0.812 [0.790, 0.833]``, of ``name``, ``name_low`` and ``name_high``."""
    value, low, high = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
    return number(value, form) + ("" if math.isnan(low) else f" [{low:{form}}, {high:{form}}]")
