"""Reading a JSON file that people may have edited."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from doll_monai.utils.errors import InputError


def read_json_object(path: str | os.PathLike[str], remedy: str = "give the right file") -> dict[str, Any]:
    """The object that a file holds; an ``InputError`` ending with the remedy where it is missing or holds another."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; {remedy}.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read as JSON: {error}; {remedy}.") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} must hold one JSON object; {remedy}.")
    return content
