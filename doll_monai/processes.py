"""Which of several processes this is, as ``torchrun`` says it in the environment; alone without it.

Label generation needs no process group: its processes share nothing but the folder.
"""

from __future__ import annotations

import os

import torch

from doll_monai.errors import InputError


def process_count() -> int:
    """How many processes share the work (``WORLD_SIZE``).

    Raises:
        InputError: when it is no number from 1 on.
    """
    return _number("WORLD_SIZE", 1, 1)


def process_rank() -> int:
    """This process's number (``RANK``).

    Raises:
        InputError: when it is no number below ``process_count()``.
    """
    rank, count = _number("RANK", 0, 0), process_count()
    if rank >= count:
        raise InputError(f"RANK is {rank} but WORLD_SIZE is {count}; ranks are counted from 0 to WORLD_SIZE - 1.")
    return rank


def process_device() -> torch.device:
    """The GPU of this process (``LOCAL_RANK``; with more processes than GPUs they take turns), or the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", _number("LOCAL_RANK", 0, 0) % torch.cuda.device_count())


def _number(name: str, default: int, least: int) -> int:
    text = os.environ.get(name, str(default))
    if not text.isdecimal() or int(text) < least:
        raise InputError(f"The environment variable {name} must be a number from {least} on, not '{text}'.")
    return int(text)
