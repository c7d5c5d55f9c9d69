"""No path of the machine at hand in what is passed on."""

from __future__ import annotations

import re
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

_WORD = re.compile(r"""[^\s'",;=()\[\]{}<>|]{2,}""")
_ABSOLUTE = re.compile(r"(?:[A-Za-z][\w+.-]*:)?[\\/]|~")
_ADDRESS = re.compile(r"https?://")


def without_paths(value: Any) -> Any:
    """A JSON value whose texts name absolute paths by their last part alone: ``/data/x/model.pt`` as ``model.pt``.

    Relative paths and addresses on the web stay as they are.
    """
    if isinstance(value, dict):
        return {without_paths(name): without_paths(content) for name, content in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_paths(content) for content in value]
    if not isinstance(value, str) or _ADDRESS.match(value):
        return value
    if PurePosixPath(value).is_absolute() or PureWindowsPath(value).is_absolute():
        value = _last_part(value)
    return _WORD.sub(lambda found: _shortened(found.group()), value)


def _shortened(word: str) -> str:
    return _last_part(word) if _ABSOLUTE.match(word) and not _ADDRESS.match(word) else word


def _last_part(path: str) -> str:
    return re.split(r"[\\/]", path.rstrip("\\/"))[-1]
