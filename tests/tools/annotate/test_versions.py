"""Trained adapters: the last good version stays in use whatever happens."""

from __future__ import annotations

from pathlib import Path

import pytest

from doll_monai.utils.errors import InputError
from doll_tools.annotate.versions import Versions


def _train(versions: Versions, content: bytes = b"weights") -> Path:
    folder = versions.begin()
    (folder / "member_0").mkdir()
    (folder / "member_0" / "training_state.pt").write_bytes(b"state")
    (folder / "adapter_0.pt").write_bytes(content)
    return folder


def test_there_is_no_version_before_the_first(tmp_path: Path) -> None:
    assert Versions(tmp_path / "model").current() is None


def test_published_version_is_current_and_earlier_ones_stay(tmp_path: Path) -> None:
    versions = Versions(tmp_path / "model")
    for number in (1, 2):
        version = versions.publish(_train(versions), {"images": number})
        assert version.number == number
    current = versions.current()
    assert current is not None
    assert (current.number, current.stats["images"]) == (2, 2)
    assert [path.name for path in current.adapters] == ["adapter_0.pt"]
    assert not (current.folder / "member_0").exists()
    assert (tmp_path / "model" / "0001" / "adapter_0.pt").is_file()


def test_training_that_was_killed_changes_nothing(tmp_path: Path) -> None:
    versions = Versions(tmp_path / "model")
    versions.publish(_train(versions, b"good"), {})
    _train(versions, b"half")
    current = versions.current()
    assert current is not None
    assert current.adapters[0].read_bytes() == b"good"
    assert versions.publish(_train(versions), {}).number == 2
    assert not list((tmp_path / "model").glob("*.part"))


def test_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    versions = Versions(tmp_path / "model")
    version = versions.publish(_train(versions), {})
    version.adapters[0].unlink()
    with pytest.raises(InputError, match="0001 has no adapters"):
        versions.current()
    (tmp_path / "model" / "current.json").write_text("{")
    with pytest.raises(InputError, match=r"current\.json cannot be read"):
        versions.current()
