"""Base of dictionary transforms."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Mapping
from typing import Any

from monai.transforms import MapTransform


class KeywiseTransform(MapTransform):
    """Replaces the value of each key by ``convert(value, data)``; the input is left as it was."""

    @abstractmethod
    def convert(self, value: Any, data: Mapping[Hashable, Any]) -> Any:
        """The new value of a key; ``data`` has all values, those of earlier keys already converted."""

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        for key in self.key_iterator(result):
            result[key] = self.convert(result[key], result)
        return result
