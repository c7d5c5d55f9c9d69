"""Tables, masks and labels of any content: what is valid comes back as it was, all else is an ``InputError``."""

from __future__ import annotations

import gzip
import json
from contextlib import suppress
from pathlib import Path

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from any_content import cells, csv_text, damage, damaged, json_values, quick, written
from doll_monai.data.datalist import load_datalist, read_table, relative_path
from doll_monai.data.ground_truth import GroundTruth
from doll_monai.data.label_files import label_file, write_label
from doll_monai.transforms.reading import LoadLabeld
from doll_monai.utils.errors import InputError

LOAD = LoadLabeld("label", ignore=True)

names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufeff"), max_size=8).map(str.strip)
tables = st.lists(names.filter(bool), min_size=1, max_size=4, unique=True).flatmap(
    lambda header: st.tuples(
        st.just(header), st.lists(st.lists(cells, min_size=len(header), max_size=len(header)), max_size=5)
    )
)


@quick
@given(tables)
def test_a_table_comes_back_as_it_was_written(table: tuple[list[str], list[list[str]]]) -> None:
    header, rows = table
    rows = [row for row in rows if len(row) > 1 or row[0]]  # the csv module writes a lone blank cell as a blank line
    with written("table.csv", csv_text([header, *rows])) as path:
        assert [list(row.values()) for _, row in read_table(path, header)] == rows


@quick
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))
@example(b'a,b\n"')
@example(b"a,b\n\0,1\n")
@example(b"a,b\n" + b"9" * 200_000 + b",1\n")
@example(b"a,a\n1,2\n")
def test_any_table_is_read_or_refused(content: bytes) -> None:
    with written("table.csv", content) as path:
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
@example({"training": [{"image": ["a.png", "b.png"]}]})
def test_any_datalist_is_read_or_refused(content: object) -> None:
    with written("dataset.json", json.dumps(content)) as path, suppress(InputError):
        load_datalist(path, "training", path.parent)


@quick
@given(
    arrays(
        np.uint8, array_shapes(min_dims=3, max_dims=3, min_side=2, max_side=6), elements=st.sampled_from([0, 1, 255])
    )
)
def test_a_label_comes_back(label: np.ndarray) -> None:
    affine = np.diag([-0.2, -0.3, 1.0, 1.0])
    with written("label.nii.gz", b"") as path:
        write_label(path, label, affine)
        loaded = LOAD({"label": path})["label"]
    np.testing.assert_allclose(loaded.affine, affine, rtol=1e-6)
    assert np.array_equal(loaded.numpy(), label)


@settings(quick, max_examples=150)
@given(damage, st.integers(0, 40), st.booleans())
def test_any_label_is_read_or_refused(changes: list[tuple[int, int]], cut: int, packed: bool) -> None:
    content = label_file(np.zeros((4, 5, 1, 3), np.uint8))
    content = damaged(content if packed else gzip.decompress(content), changes, cut)
    with written("label.nii.gz" if packed else "label.nii", content) as path, suppress(InputError):
        assert LOAD({"label": path})["label"].ndim == 3


@quick
@given(st.floats(0, 1, exclude_max=True), st.floats(0, 1), st.integers(1, 400))
def test_a_box_has_a_pixel_at_least_and_a_point_has_one(start: float, length: float, pixels: int) -> None:
    length = min(length, 1 - start)
    content = csv_text(
        [["Path", "finding", "x", "y", "width", "height"]]
        + [
            [f"{name}.png", "Edema", str(start), "0", str(extent), "1"]
            for name, extent in (("box", length), ("point", 0))
        ]
    )
    with written("boxes.csv", content) as path:
        truth = GroundTruth(path, path.parent)
        box, point = (truth.masks(path.parent / f"{name}.png", (pixels, 1)).popitem()[1] for name in ("box", "point"))
    assert int(box.sum()) >= 1
    assert point[:, 0].nonzero().flatten().tolist() == [int(start * pixels)]
