"""Finding what an id of a configuration stands for, as MONAI does it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from monai.bundle import ReferenceResolver

SEPARATOR = "::"
MISSING = object()
"""What ``look_up`` finds where there is nothing."""
BEYOND = object()
"""What ``look_up`` finds where another id, file or expression decides what there is."""


def is_text_of(value: Any, signs: str) -> bool:
    """Whether a value is a text that begins with one of MONAI's signs: ``$`` expression, ``@`` id, ``%`` file."""
    return isinstance(value, str) and value.startswith(tuple(signs))


def normalized(name: str) -> str:
    """An id as MONAI writes it: ``::`` between its parts, no sign for merging."""
    return ReferenceResolver.normalize_id(str(name)).removeprefix("+")


def look_up(config: Any, name: str) -> Any:
    """The value of an id; ``MISSING`` where there is none, ``BEYOND`` where that cannot be seen from here."""
    current = config
    for part in name.split(SEPARATOR) if name else []:
        if isinstance(current, Mapping):
            current = current.get(part, MISSING)
        elif isinstance(current, list):
            known = part.isdecimal() and int(part) < len(current)
            current = current[int(part)] if known else MISSING
        else:
            return BEYOND if is_text_of(current, "$@%") else MISSING
        if current is MISSING:
            return MISSING
    return current


def walk(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every id of a configuration with its value, outer ones first."""
    yield name, value
    items: Any = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for key, child in items:
        yield from walk(child, f"{name}{SEPARATOR}{key}" if name else str(key))


def references(value: Any) -> list[str]:
    """The ids that a text names with ``@``."""
    return list(ReferenceResolver.match_refs_pattern(value)) if isinstance(value, str) else []


def is_named(config: Any, name: str) -> bool:
    """Whether some value of a configuration names an id, or one below it, with ``@`` or ``%``."""
    pattern = re.compile(rf"[@%]{re.escape(name)}\b")
    return any(isinstance(value, str) and pattern.search(normalized(value)) for _, value in walk(config))


def did_you_mean(name: str, known: Any) -> str:
    """`` Did you mean 'image_size'?`` when something known looks alike, else nothing."""
    close = get_close_matches(name, [str(other) for other in known], n=1)
    return f" Did you mean '{close[0]}'?" if close else ""
