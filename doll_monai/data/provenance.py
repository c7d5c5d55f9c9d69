"""``provenance.json``: how the files of a folder were made, so that no others are put among them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from doll_monai.utils.atomic import create_if_absent
from doll_monai.utils.errors import InputError


def claim_folder(path: Path, provenance: Mapping[str, Any], files: str = "labels") -> None:
    """Write what the files beside ``path`` depend on, or compare with what is there; of several processes one writes.

    ``files`` is what they are, for the errors: an ``InputError`` when they were made otherwise, or the record is broken
    or cannot be written.
    """
    record = json.loads(json.dumps(provenance, default=str))
    if create_if_absent(path, (json.dumps(record, indent=2, sort_keys=True) + "\n").encode()):
        return
    remedy = f"give a new output_dir or delete the old {files}."
    try:
        there = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read, so nobody knows how its {files} were made; {remedy}") from error
    changed = sorted(key for key in {*there, *record} if there.get(key) != record.get(key))
    if changed:
        raise InputError(f"The {files} in {path.parent} were made with another {', '.join(changed)}; {remedy}")
