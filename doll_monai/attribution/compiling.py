"""When ``torch.compile`` pays."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils._triton import has_triton

MANY_IMAGES = 2000
"""From so many images on, the minute or two of compiling a network are won back several times."""


def can_compile(device: torch.device) -> bool:
    """Whether ``torch.compile`` has what it needs: on a CPU a C++ compiler, on a GPU Triton."""
    if device.type == "cpu":
        return any(shutil.which(name) for name in ("g++", "clang++"))
    return device.type == "cuda" and has_triton()


def compile_pays(sections: Mapping[str, Sequence[Any]], device: torch.device) -> bool:
    """Whether to compile for a data set: by the number of its images, done or not, so that a resumed run does the same.

    Args:
        sections: section name to records.
        device: where the networks run.
    """
    return sum(map(len, sections.values())) >= MANY_IMAGES and can_compile(device)
