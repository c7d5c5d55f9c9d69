"""Bringing a prediction back to its image's geometry."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from monai.transforms import Invertd
from monai.transforms.utils import reset_ops_id


class InvertPredictiond(Invertd):
    """MONAI's ``Invertd``, whichever way the processes of the ``DataLoader`` are started.

    MONAI finds the transforms that an image went through by their addresses in memory, which another process than a
    fork has elsewhere. They are undone in reverse order instead, as MONAI does after ``PersistentDataset``.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """An item whose ``orig_keys`` are ``MetaTensor``."""
        for key in self.orig_keys:
            data[key].applied_operations = reset_ops_id(data[key].applied_operations)
        return super().__call__(data)
