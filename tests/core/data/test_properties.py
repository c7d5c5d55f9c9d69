"""Tables, masks and labels of any content: what is valid comes back as it was, all else is an ``InputError``."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from doll_monai.data.datalist import load_datalist, read_table, relative_path, write_datalist
from doll_monai.data.ground_truth import _extent
from doll_monai.data.label_files import label_file, read_label, write_label
from doll_monai.data.run_lengths import RunLengths, read_run_lengths
from doll_monai.transforms.reading import LoadLabeld
from doll_monai.utils.errors import InputError

quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
LOAD = LoadLabeld("label")

cells = st.text(st.characters(exclude_categories=["Cs"]), max_size=12).map(str.strip)
names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufeff"), max_size=8).map(str.strip)
tables = st.lists(names.filter(bool), min_size=1, max_size=4, unique=True).flatmap(
    lambda header: st.tuples(
        st.just(header), st.lists(st.lists(cells, min_size=len(header), max_size=len(header)), max_size=5)
    )
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@contextmanager
def _file(name: str, content: bytes | str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        yield path


def _csv(rows: list[list[str]]) -> str:
    stream = io.StringIO()
    csv.writer(stream).writerows(rows)
    return stream.getvalue()


@quick
@given(tables)
def test_a_table_comes_back_as_it_was_written(table: tuple[list[str], list[list[str]]]) -> None:
    header, rows = table
    rows = [row for row in rows if len(row) > 1 or row[0]]  # the csv module writes a lone blank cell as a blank line
    with _file("table.csv", _csv([header, *rows])) as path:
        assert [list(row.values()) for _, row in read_table(path, header)] == rows


@quick
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))
@example(b'a,b\n"')
@example(b"a,b\n\0,1\n")
@example(b"a,b\n" + b"9" * 200_000 + b",1\n")
@example(b"a,a\n1,2\n")
def test_any_table_is_read_or_refused(content: bytes) -> None:
    with _file("table.csv", content) as path:
        for columns in ([], ["a"]):
            with suppress(InputError):
                for _, row in read_table(path, columns):
                    assert all(isinstance(cell, str) for cell in row.values())


@quick
@given(cells)
@example("a" * 5000)
@example("a\0b")
def test_a_path_stays_inside_or_is_refused(path: str) -> None:
    with suppress(InputError):
        tidy = relative_path(path, "here")
        assert relative_path(tidy, "here") == tidy
        assert Path("/data", tidy).resolve().is_relative_to("/data")


@quick
@given(json_values)
@example({"training": [{"image": "a" * 300}]})
@example({"training": [{"image": "a\0b", "label": [1]}]})
def test_any_datalist_is_read_or_refused(content: object) -> None:
    with _file("dataset.json", json.dumps(content)) as path, suppress(InputError):
        load_datalist(path, "training", path.parent)


@quick
@given(
    st.integers(1, 14).flatmap(
        lambda count: st.lists(
            st.lists(st.sampled_from([1.0, 0.0, -1.0, None]), min_size=count, max_size=count), min_size=1, max_size=4
        )
    )
)
def test_a_datalist_comes_back(labels: list[list[float | None]]) -> None:
    with _file("0.png", b"") as image:
        records = [{"image": "0.png", "label": values} for values in labels]
        write_datalist(image.with_name("dataset.json"), {"training": records})
        loaded = load_datalist(image.with_name("dataset.json"), "training", image.parent)
    assert loaded == [{"image": str(image), "label": values} for values in labels]


masks = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=9))


damage = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4)


def _damaged(content: bytes, changes: list[tuple[int, int]], cut: int) -> bytes:
    data = bytearray(content[: max(len(content) - cut, 0)])
    for place, value in changes:
        if place < len(data):
            data[place] = value
    return bytes(data)


@quick
@given(arrays(np.uint8, array_shapes(min_dims=3, max_dims=3, max_side=6)))
def test_a_label_comes_back(label: np.ndarray) -> None:
    affine = np.diag([-0.2, -0.3, 1.0, 1.0])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "label.nii.gz"
        write_label(path, label, affine)
        found = read_label(path)
        loaded = LOAD({"label": path})["label"]
    assert found is not None
    np.testing.assert_allclose(found[1], affine, rtol=1e-6)
    assert np.array_equal(found[0], label)
    assert np.array_equal(loaded.numpy(), label)


@settings(quick, max_examples=150)
@given(damage, st.integers(0, 40), st.booleans())
def test_any_label_is_read_or_refused(changes: list[tuple[int, int]], cut: int, packed: bool) -> None:
    content = label_file(np.zeros((4, 5, 1, 3), np.uint8))
    if not packed:
        content = gzip.decompress(content)
    with (
        _file("label.nii.gz" if packed else "label.nii", _damaged(content, changes, cut)) as path,
        suppress(InputError),
    ):
        assert LOAD({"label": path})["label"].ndim == 3


def _coco(runs: list[int]) -> str:
    """COCO's compressed string of run lengths, as the format's description says."""
    text = ""
    for index, run in enumerate(runs):
        value = run - runs[index - 2] if index > 2 else run
        while True:
            group, value = value & 31, value >> 5
            last = value == (-1 if group & 16 else 0)
            text += chr(48 + group + (0 if last else 32))
            if last:
                break
    return text


@quick
@given(masks)
def test_run_lengths_come_back(mask: np.ndarray) -> None:
    flat = mask.reshape(-1)
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *edges, flat.size]).tolist()
    place = RunLengths.from_coco(_coco([0, *runs] if flat[0] else runs), mask.shape)
    assert np.array_equal(place.mask(), mask)


sizes = st.lists(st.integers(-3, 9) | st.floats(), max_size=3) | json_values
entries = st.fixed_dictionaries({"size": sizes, "counts": st.text("0123PQ`no", max_size=6) | json_values}) | json_values


@settings(quick, max_examples=150)
@given(st.dictionaries(st.sampled_from(["Edema", "Airspace Opacity", "Freckles"]), entries, max_size=2) | json_values)
@example({"Edema": {"size": [float("inf"), 1], "counts": "0"}})
@example({"Edema": {"size": [-1, -2], "counts": "02"}})
@example({"Edema": {"size": [2**31, 2**31], "counts": _coco([0, 2**62])}})
def test_any_run_lengths_are_read_or_refused(findings: object) -> None:
    with _file("truth.json", json.dumps({"image": findings})) as path, suppress(InputError):
        for _, _, place in read_run_lengths(path):
            assert place.mask().shape == place.size


@pytest.mark.parametrize("content", ["[" * 100_000, '{"image": ' * 50_000, b"\xff", b"\0"])
def test_a_truth_that_is_no_json_is_refused(content: bytes | str) -> None:
    with _file("truth.json", content) as path, pytest.raises(InputError, match="is no JSON of images"):
        list(read_run_lengths(path))


@quick
@given(st.floats(0, 1, exclude_max=True), st.floats(0, 1), st.integers(1, 400))
def test_a_place_has_a_pixel_at_least_and_a_point_has_one(start: float, length: float, pixels: int) -> None:
    length = min(length, 1 - start)
    part = range(pixels)[_extent(start, length, pixels)]
    assert len(part) >= 1
    point = range(pixels)[_extent(start, 0.0, pixels)]
    assert list(point) == [int(start * pixels)]
