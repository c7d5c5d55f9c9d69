"""A store of MLflow that cannot be used is named in a sentence, and left as it was."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from doll_monai.utils.errors import InputError
from doll_monai.utils.mlflow_store import open_store


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database, which takes seconds to make."""
    path = tmp_path_factory.mktemp("mlflow") / "good.db"
    open_store(f"sqlite:///{path}").create_experiment("lungs")
    return path


def execute(statement: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with closing(sqlite3.connect(path)) as database, database:
            database.execute(statement)

    return write


def newer(path: Path) -> None:
    shutil.copyfile(path.with_name("good.db"), path)
    execute("UPDATE alembic_version SET version_num = 'of a later version'")(path)


BROKEN: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "a folder": ("{path}", Path.mkdir, r"MLflow keeps no runs in a folder \({path}\); give --tracking_uri sqlite:///"),
    "a folder as URI": ("file://{path}", Path.mkdir, r"MLflow keeps no runs in a folder \(file://{path}\); give"),
    "text": (
        "sqlite:///{path}",
        lambda path: path.write_text("text " * 99),
        r"MLflow cannot use .* is not a database\)",
    ),
    "another version": (
        "sqlite:///{path}",
        newer,
        "The database sqlite:///{path} is of another version of MLflow; give",
    ),
    "another program": (
        *("sqlite:///{path}", execute("CREATE TABLE patients (name TEXT)")),
        "The database {path} is not MLflow's; give another --tracking_uri",
    ),
    "no such kind": ("oracle://{path}", Path.touch, "MLflow cannot use oracle://{path} "),
    "no server": ("http://localhost:9", Path.touch, "MLflow cannot use http://localhost:9 .* give another"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_store_is_named_and_left_alone(name: str, good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    path = good.with_name(name.replace(" ", "_"))
    uri, write, sentence = BROKEN[name]
    write(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(InputError, match=sentence.format(path=path)) as error:
        open_store(uri.format(path=path))
    assert "\n" not in str(error.value)
    assert (path.read_bytes() if path.is_file() else None) == before


def test_a_good_store_is_opened(good: Path) -> None:
    assert open_store(f"sqlite:///{good}").get_experiment_by_name("lungs") is not None
