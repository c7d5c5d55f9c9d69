"""Images under other names, for what is made of them: links whose names say nothing about a patient.

Results are named after the images' own paths. Where these name patients, everything downstream (labels, tables, logs,
MLflow, reports) is kept free of them by running on a folder of links instead. The images are neither copied nor changed.
"""

from __future__ import annotations

import csv
import hmac
import io
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from doll_monai.data.datalist import SECTIONS, read_section, relative_path, write_datalist
from doll_monai.data.datalist import IMAGE_SUFFIXES
from doll_monai.utils.atomic import create_atomic, write_atomic
from doll_monai.utils.errors import InputError
from doll_monai.utils.json_object import read_json_object

KEY_BYTES = 32
LENGTH = 16
"""Hexadecimal digits of a pseudonym: two of a million names are the same with a chance of one in 10^7."""
DATALIST = "dataset.json"


def pseudonym(path: str, key: bytes) -> str:
    """Another path for a path: each folder and the name become a keyed hash, an image's suffix stays.

    Images of one folder (a patient's, a study's) stay in one folder. Without the key nobody can tell a name from its
    pseudonym by trying names.

    Args:
        path: relative, with forward slashes.
        key: secret; the same key gives the same pseudonyms.
    """
    parts = PurePosixPath(path).parts
    names = [
        hmac.new(key, "/".join(parts[: depth + 1]).encode(), "sha256").hexdigest()[:LENGTH]
        for depth in range(len(parts))
    ]
    known = sorted(IMAGE_SUFFIXES, key=len, reverse=True)
    return "/".join(names) + next((suffix for suffix in known if path.lower().endswith(suffix)), "")


def read_key(path: str | os.PathLike[str]) -> bytes:
    """The key in a file, which is made with a random one, readable by its owner alone, when it does not exist.

    Raises:
        InputError: when the file holds something else.
    """
    file = Path(path)
    if not file.exists():
        with _for_the_owner_alone():
            create_atomic(file, secrets.token_hex(KEY_BYTES).encode())
    try:
        key = bytes.fromhex(file.read_text(encoding="ascii").strip())
    except (OSError, ValueError) as error:
        raise InputError(f"{path} holds no key; name a file that does not exist, and a key is made there.") from error
    if len(key) < KEY_BYTES:
        raise InputError(f"The key in {path} is shorter than {KEY_BYTES} bytes; name a file that does not exist.")
    return key


def write_pseudonyms(
    datalist: str | os.PathLike[str],
    dataset_dir: str | os.PathLike[str],
    output: str | os.PathLike[str],
    key_file: str | os.PathLike[str],
    names: str | os.PathLike[str],
    label_dir: str | os.PathLike[str] | None = None,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> dict[str, int]:
    """Write ``output/dataset.json`` and, for each of its images and label files, a link under a pseudonym.

    Of each record ``image``, ``label`` and, as a pseudonym, ``patient`` are kept, nothing else.

    Args:
        datalist: the ``dataset.json`` with the true names.
        dataset_dir: folder to which its images are relative.
        output: folder of links; it is both ``dataset_dir`` and ``label_dir`` of what comes next.
        key_file: see ``read_key``. It must not lie in ``output``.
        names: CSV to write, ``pseudonym, path``: who may know both finds an image by it. It must not lie in ``output``.
        label_dir: folder to which labels are relative; ``dataset_dir`` when None.
        progress: wraps the records, ``doll_monai.utils.progress.Bar`` for instance.

    Returns:
        section to number of images.

    Raises:
        InputError: when an image is missing, two have one pseudonym, a link is there that leads elsewhere, or the key
            or the names would lie in ``output``.
    """
    target = Path(output).resolve()
    for secret in (key_file, names):
        if Path(secret).resolve().is_relative_to(target):
            raise InputError(
                f"{secret} would lie in {output}, beside what it is to be kept apart from; put it elsewhere."
            )
    content = read_json_object(datalist, "write it with one of scripts/prepare_*.py")
    records = {section: read_section(datalist, section) for section in SECTIONS if content.get(section)}
    key = read_key(key_file)
    folders = {"image": Path(dataset_dir).resolve(), "label": Path(label_dir or dataset_dir).resolve()}
    known: dict[str, str] = {}
    sections: dict[str, list[dict[str, Any]]] = {}

    def renamed(name: str, value: Any) -> Any:
        """The pseudonym of a path, or of each of several; labels that are values stay."""
        if isinstance(value, list):
            return [renamed(name, part) for part in value]
        if not isinstance(value, str):
            return value
        path = relative_path(value, str(datalist))
        other = f"{name}s/{pseudonym(path, key)}"
        if known.setdefault(other, path) != path:
            raise InputError(f"{path} and {known[other]} have one pseudonym; take another key.")
        _link(folders[name] / path, target / other)
        return other

    for section, record in progress([(section, record) for section, found in records.items() for record in found]):
        kept = {name: record[name] for name in ("image", "label", "patient") if name in record}
        kept |= {name: renamed(name, kept[name]) for name in folders if name in kept}
        if "patient" in kept:
            kept["patient"] = pseudonym(str(kept["patient"]), key)[:LENGTH]
        sections.setdefault(section, []).append(kept)
    rows = sorted((other, path) for other, path in known.items() if other.startswith("images/"))
    with _for_the_owner_alone():
        write_atomic(names, _csv(rows))
    labels: Mapping[str, Any] = {"labels": content["labels"]} if "labels" in content else {}
    write_datalist(target / DATALIST, sections, **labels)
    return {section: len(records) for section, records in sections.items()}


@contextmanager
def _for_the_owner_alone() -> Iterator[None]:
    """Files that are made meanwhile can be read by nobody else."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def _link(path: Path, link: Path) -> None:
    if not path.is_file():
        raise InputError(f"{path} does not exist.")
    try:
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path)
    except FileExistsError as error:
        if not link.is_symlink() or link.resolve() != path.resolve():
            raise InputError(f"{link} is there already and leads elsewhere; give a new output folder.") from error
    except OSError as error:
        raise InputError(f"{link} cannot be made: {error.strerror}.") from error


def _csv(rows: Iterable[tuple[str, str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([("pseudonym", "path"), *rows])
    return text.getvalue().encode()
