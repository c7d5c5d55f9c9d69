"""What all tests share: seeded random numbers, and nothing else."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Every test starts from the same random numbers."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - MONAI's own randomness starts from the global state
    torch.manual_seed(0)
