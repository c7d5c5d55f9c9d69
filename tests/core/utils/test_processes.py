"""What torchrun says in the environment."""

from __future__ import annotations

import pytest
import torch

from doll_monai.utils.errors import InputError
from doll_monai.utils.processes import process_count, process_device, process_rank


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)


def test_rank_and_count_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (process_rank(), process_count()) == (0, 1)
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert (process_rank(), process_count()) == (2, 3)


@pytest.mark.parametrize(
    ("rank", "count", "message"),
    [
        ("2", "2", "RANK is 2 but WORLD_SIZE is 2"),
        ("-1", "2", "RANK must be a number from 0 on, not '-1'"),
        ("one", "2", "RANK must be a number"),
        ("0", "0", "WORLD_SIZE must be a number from 1 on, not '0'"),
    ],
)
def test_an_impossible_rank_is_refused(rank: str, count: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", count)
    with pytest.raises(InputError, match=message):
        process_rank()


def test_each_process_of_a_node_has_its_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    devices = []
    for rank in range(3):
        monkeypatch.setenv("LOCAL_RANK", str(rank))
        devices.append(str(process_device()))
    assert devices == ["cuda:0", "cuda:1", "cuda:0"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert str(process_device()) == "cpu"
