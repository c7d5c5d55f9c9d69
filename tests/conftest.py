"""What all tests share: seeded random numbers, and nothing global left behind."""

from __future__ import annotations

import logging
import random
import sys
from collections.abc import Iterator

import numpy as np
import pytest
import torch


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    """Every test starts from the same random numbers and leaves the hook for uncaught exceptions as it was."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - MONAI's own randomness starts from the global state
    torch.manual_seed(0)
    hook, factory = sys.excepthook, logging.getLogRecordFactory()
    yield
    sys.excepthook = hook
    logging.setLogRecordFactory(factory)
