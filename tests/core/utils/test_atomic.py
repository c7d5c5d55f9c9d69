"""Files that are whole or absent, whoever writes them and whenever that is stopped."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from doll_monai.utils.atomic import STALE_AFTER, create_if_absent, remove_leftovers, write_atomic
from doll_monai.utils.errors import InputError


def _dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_file_is_replaced_and_its_folder_made(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file.csv"
    for content in (b"old and longer", b"new"):
        write_atomic(path, content)
        assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("name", ["a" * 255, "\N{LATIN SMALL LETTER U WITH DIAERESIS}" * 127])
def test_a_name_may_be_as_long_as_the_file_system_takes(name: str, tmp_path: Path) -> None:
    write_atomic(tmp_path / name, b"content")
    assert create_if_absent(tmp_path / f"b{name[1:]}", b"content")
    assert len(list(tmp_path.iterdir())) == 2


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file.csv"
    write_atomic(path, b"old")

    def fail(_file: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(InputError, match=r"file\.csv cannot be written: No space left on device; free some space"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_of_many_at_once_one_creates_the_file(tmp_path: Path) -> None:
    path = tmp_path / "provenance.json"
    contents = [bytes([65 + number]) * 10000 for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        created = list(pool.map(lambda content: create_if_absent(path, content), contents))
    assert created.count(True) == 1
    assert path.read_bytes() == contents[created.index(True)]
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_created_where_there_are_no_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, os.strerror(1))

    monkeypatch.setattr(os, "link", refuse)
    assert create_if_absent(tmp_path / "file", b"first")
    assert not create_if_absent(tmp_path / "file", b"second")
    assert (tmp_path / "file").read_bytes() == b"first"


@pytest.mark.parametrize(
    ("owner", "host", "age", "left"),
    [
        ("dead", "here", 0.0, False),
        ("alive", "here", 0.0, True),
        ("alive", "here", 2 * STALE_AFTER, False),
        ("dead", "elsewhere", 0.0, True),
        ("dead", "elsewhere", 2 * STALE_AFTER, False),
    ],
)
def test_only_what_nobody_writes_is_deleted(owner: str, host: str, age: float, left: bool, tmp_path: Path) -> None:
    pid = _dead_process() if owner == "dead" else os.getppid()
    name = platform.node() if host == "here" else "elsewhere.example"
    path = tmp_path / f".view1.nii.gz.{pid}-140000@{name}.tmp"
    path.touch()
    os.utime(path, (time.time() - age, time.time() - age))
    remove_leftovers(tmp_path)
    assert path.exists() == left


def test_files_of_others_and_missing_folders_are_left_alone(tmp_path: Path) -> None:
    names = [".file.csv.1-2@elsewhere", ".somebody.tmp", "results.tmp"]
    for name in names:
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, 0))
    remove_leftovers(tmp_path)
    remove_leftovers(tmp_path / "missing")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
