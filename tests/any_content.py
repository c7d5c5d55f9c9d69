"""Files of any content, for the tests of what reads them."""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
cells = st.text(st.characters(exclude_categories=["Cs"]), max_size=12).map(str.strip)
masks = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=9))
damage = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4)
"""Places and new values of bytes."""
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@contextmanager
def written(name: str, content: bytes | str) -> Iterator[Path]:
    """A file of its own folder, which is deleted afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        yield path


def csv_text(rows: list[list[str]]) -> str:
    """Rows as the content of a CSV file."""
    stream = io.StringIO()
    csv.writer(stream).writerows(rows)
    return stream.getvalue()


def damaged(content: bytes, changes: list[tuple[int, int]], cut: int) -> bytes:
    """The content with some bytes changed and its last ``cut`` bytes gone."""
    data = bytearray(content[: max(len(content) - cut, 0)])
    for place, value in changes:
        if place < len(data):
            data[place] = value
    return bytes(data)
