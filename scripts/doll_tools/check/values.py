"""Do values that somebody gives exist in the configuration, and are they of the kind that it holds?"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from doll_monai.utils.errors import InputError
from doll_tools.check.configuration import TARGET, parameters_of, takes
from doll_tools.check.ids import (
    BEYOND,
    MISSING,
    SEPARATOR,
    did_you_mean,
    is_named,
    is_text_of,
    look_up,
    normalized,
    walk,
)

FREE = ("_desc_", "_disabled_", "_requires_", "_mode_", "_target_")
"""Keys that any component may have."""
PROGRAMS = ("imports", "initialize", "run", "finalize")
"""Ids that MONAI looks for by itself."""


def check_values(
    config: Mapping[str, Any],
    given: Mapping[str, Any],
    also: Collection[str] = (),
    where: str = "the configuration",
    named: Sequence[Any] = (),
) -> None:
    """Check values that replace those of a configuration, or are added to it.

    A new value must be an argument that its component takes, an entry of a table of free names, or named by another
    value; everything else is taken for a slip of the pen.

    Args:
        config: what is replaced, merged as MONAI does, macros unresolved.
        given: id to value.
        also: further ids that are right, such as those of tracking settings.
        where: what the configuration is called in an error.
        named: what else may name new values.

    Raises:
        InputError: for the first value that is not known, is of another kind, or names a file that is not there.
    """
    naming = [config, *given.values(), *named]
    for key, value in given.items():
        name = normalized(key)
        if name in also or name in PROGRAMS:
            continue
        known = look_up(config, name)
        if known is MISSING:
            _check_new(config, name, naming, where)
        elif known is not BEYOND and not key.startswith("+"):
            _check_kind(name, known, value)
        if is_text_of(value, "%"):
            _check_macro(name, value)


def _check_new(config: Mapping[str, Any], name: str, naming: list[Any], where: str) -> None:
    parts = name.split(SEPARATOR)
    depth = next(n for n in range(len(parts) - 1, -1, -1) if look_up(config, SEPARATOR.join(parts[:n])) is not MISSING)
    parent_name, missing = SEPARATOR.join(parts[:depth]), parts[depth]
    parent = look_up(config, parent_name)
    wanted = SEPARATOR.join(parts[: depth + 1])
    if depth == len(parts) - 1:
        if missing in FREE or any(is_named(value, wanted) for value in naming):
            return
        if isinstance(parent, Mapping) and TARGET in parent:
            parameters = parameters_of(parent)
            if parameters is None or takes(parameters, missing):
                return
            text = f"{parent[TARGET]} ('{parent_name}') takes no '{missing}'."
            raise InputError(text + did_you_mean(missing, parameters))
        if depth and isinstance(parent, Mapping) and not any(isinstance(v, (dict, list)) for v in parent.values()):
            return
    siblings = parent if isinstance(parent, Mapping) else ()
    known = [f"{parent_name}{SEPARATOR}{other}" if parent_name else str(other) for other in siblings]
    suggestion = did_you_mean(wanted, known) or _elsewhere(config, parts[-1])
    raise InputError(f"There is no value '{wanted}' in {where}.{suggestion}")


def _elsewhere(config: Mapping[str, Any], last: str) -> str:
    found = [name for name, _ in walk(config) if name.split(SEPARATOR)[-1] == last]
    return f" Did you mean '{found[0]}'?" if len(found) == 1 else ""


def _check_kind(name: str, known: Any, value: Any) -> None:
    """Compare a value with the one that it replaces; what is null, computed or named elsewhere may become anything.

    A table may stand for a number or a text: a value for each observation.
    """
    if known is None or is_text_of(known, "$@%") or is_text_of(value, "$@%"):
        return
    if isinstance(known, Mapping) or (isinstance(known, list) and not _is_plain(known)):
        if isinstance(value, (bool, str)):
            raise InputError(f"The value '{name}' is a block of the configuration and cannot be {value!r}.")
        return
    if isinstance(known, list):
        _check_list(name, known, value)
    elif isinstance(known, bool):
        if str(value).lower() not in ("true", "false"):
            raise InputError(f"The value '{name}' must be true or false, not {value!r}.")
    elif isinstance(known, int):
        if isinstance(value, bool) or not isinstance(value, int):
            raise InputError(f"The value '{name}' must be a whole number such as {known}, not {value!r}.")
    elif isinstance(known, float):
        if isinstance(value, bool) or not isinstance(value, (int, float, Mapping)):
            raise InputError(f"The value '{name}' must be a number such as {known}, not {value!r}.")
    elif isinstance(known, str) and not isinstance(value, (str, os.PathLike, Mapping)):
        raise InputError(f"The value '{name}' must be a text such as '{known}', not {value!r}.")


def _check_list(name: str, known: list[Any], value: Any) -> None:
    """Replace a list of numbers by one of as many numbers, a list of texts by one of texts."""
    numbers = bool(known) and all(isinstance(item, (int, float)) for item in known)
    right = isinstance(value, (list, tuple))
    if right and numbers:
        right = len(value) == len(known) and all(isinstance(item, (int, float)) for item in value)
    elif right and known:
        right = all(isinstance(item, str) for item in value)
    if not right:
        raise InputError(f"The value '{name}' must be a list such as {known}, not {value!r}.")


def _is_plain(values: list[Any]) -> bool:
    return all(isinstance(item, (int, float, str)) and not is_text_of(item, "$@%") for item in values)


def _check_macro(name: str, value: str) -> None:
    """A file of a ``%file.json::id`` must be there; MONAI's own message for a missing one is long."""
    file = value[1:].split(SEPARATOR)[0].split("#")[0]
    if file.lower().endswith((".json", ".yaml", ".yml")) and not Path(file).is_file():
        raise InputError(f"The value '{name}' is taken from the file {file}, which does not exist.")
