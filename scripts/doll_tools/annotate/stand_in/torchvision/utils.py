"""Two functions that MONAI Label imports for debugging pictures, which nothing here makes."""

from __future__ import annotations

from typing import Any


def make_grid(*args: Any, **kwargs: Any) -> Any:
    """Raises: NotImplementedError."""
    raise NotImplementedError("torchvision is not installed.")


def save_image(*args: Any, **kwargs: Any) -> Any:
    """Raises: NotImplementedError."""
    raise NotImplementedError("torchvision is not installed.")
