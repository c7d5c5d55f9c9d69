"""When ``torch.compile`` pays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils._triton import has_triton

MANY_IMAGES = 2000
"""From so many images on, the minute or two of compiling a network are won back several times."""


def can_compile(device: torch.device) -> bool:
    """Whether to think of ``torch.compile``: on a GPU with Triton.

    On a CPU it was measured to be slower than what ``fused`` does.
    """
    return device.type == "cuda" and has_triton()


def compile_pays(sections: Mapping[str, Sequence[Any]], device: torch.device) -> bool:
    """Whether to compile for a data set: by the number of its images, done or not, so that a resumed run does the same.

    Args:
        sections: section name to records.
        device: where the networks run.
    """
    return sum(map(len, sections.values())) >= MANY_IMAGES and can_compile(device)
