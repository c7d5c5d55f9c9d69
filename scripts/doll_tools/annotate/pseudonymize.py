"""A folder of links to images, under names that say nothing about patients, and its dataset.json.

Results are named after the images' own paths. Whatever is made from output/pseudonymous (labels, tables, logs, MLflow,
reports) carries the pseudonyms alone. The key and the table of names undo it: keep them where patients' names may be.
"""

from __future__ import annotations

import csv
import hmac
import io
import os
import secrets
from pathlib import Path, PurePosixPath
from typing import Any

from doll_monai.data.datalist import SECTIONS, read_section, relative_path, write_datalist
from doll_monai.data.image_files import IMAGE_SUFFIXES
from doll_monai.utils.errors import InputError
from doll_monai.utils.json_object import read_json_object
from doll_monai.utils.progress import Bar

KEY_BYTES = 32
LENGTH = 16  # hexadecimal digits: two of a million names have one pseudonym with a chance of one in 10^7


def pseudonymize(
    datalist: str,
    dataset_dir: str,
    output: str,
    key: str,
    names: str,
    label_dir: str | None = None,
    quiet: bool = False,
) -> None:
    """Write links and dataset.json; images are neither copied nor changed.

    Of each record ``image``, ``label`` and, as a pseudonym, ``patient`` are kept, nothing else.

    Args:
        datalist: dataset.json with the true names.
        dataset_dir: folder to which its images are relative.
        output: folder for the links and the new dataset.json; both dataset_dir and label_dir of what comes next.
        key: file with the secret key, made when it does not exist; the same key gives the same pseudonyms.
        names: CSV to write, which pseudonym stands for which image.
        label_dir: folder to which labels are relative, when it is another one.
        quiet: show no progress.
    """
    target = Path(output).resolve()
    for secret in (key, names):
        if Path(secret).resolve().is_relative_to(target):
            raise InputError(f"{secret} would lie in {output}, which is passed on; put it elsewhere.")
    content, secret_key = read_json_object(datalist, "write it with doll prepare"), read_key(key)
    folders = {"image": Path(dataset_dir).resolve(), "label": Path(label_dir or dataset_dir).resolve()}
    known: dict[str, str] = {}

    def renamed(kind: str, value: Any) -> Any:
        """The pseudonym of a path; labels that are values stay."""
        if not isinstance(value, str):
            return value
        path = relative_path(value, str(datalist))
        other = f"{kind}s/{pseudonym(path, secret_key)}"
        if known.setdefault(other, path) != path:
            raise InputError(f"{path} and {known[other]} have one pseudonym; take another key.")
        _link(folders[kind] / path, target / other)
        return other

    sections: dict[str, list[dict[str, Any]]] = {}
    for section in filter(content.get, SECTIONS):
        for record in Bar(read_section(datalist, section), name=section, quiet=quiet):
            kept = {kind: renamed(kind, record[kind]) for kind in folders if kind in record}
            if "patient" in record:
                kept["patient"] = pseudonym(str(record["patient"]), secret_key)[:LENGTH]
            sections.setdefault(section, []).append(kept)
    table = io.StringIO()
    rows = sorted((other, path) for other, path in known.items() if other.startswith("images/"))
    csv.writer(table).writerows([("pseudonym", "path"), *rows])
    _write_private(names, table.getvalue())
    labels = {"labels": content["labels"]} if "labels" in content else {}
    write_datalist(target / "dataset.json", sections, **labels)
    print("\n".join(f"{section}: {len(records)} images" for section, records in sections.items()))
    print(Path(output) / "dataset.json")


def pseudonym(path: str, key: bytes) -> str:
    """Another path for a relative one: each folder and the name become a keyed hash, an image's suffix stays.

    Images of one folder stay in one folder. Without the key nobody can tell a name by trying names.
    """
    parts = PurePosixPath(path).parts
    heads = ["/".join(parts[: depth + 1]).encode() for depth in range(len(parts))]
    hashes = [hmac.new(key, head, "sha256").hexdigest()[:LENGTH] for head in heads]
    suffixes = sorted(IMAGE_SUFFIXES, key=len, reverse=True)
    return "/".join(hashes) + next((suffix for suffix in suffixes if path.lower().endswith(suffix)), "")


def read_key(path: str | os.PathLike[str]) -> bytes:
    """The key in a file, made where there is none; an ``InputError`` when the file holds something else."""
    if not Path(path).exists():
        _write_private(path, secrets.token_hex(KEY_BYTES))
    try:
        key = bytes.fromhex(Path(path).read_text(encoding="ascii").strip())
    except (OSError, ValueError):
        key = b""
    if len(key) < KEY_BYTES:
        raise InputError(f"{path} holds no key of {KEY_BYTES} bytes; name a file that does not exist to have one made.")
    return key


def _write_private(path: str | os.PathLike[str], text: str) -> None:
    """Write a file that its owner alone can read."""
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).unlink(missing_ok=True)
        Path(path).touch(0o600, exist_ok=False)
        Path(path).write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}.") from error


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
