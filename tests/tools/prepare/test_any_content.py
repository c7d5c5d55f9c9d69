"""Tables of CheXpert, classes and masks of any content: what is valid comes back, all else is an ``InputError``."""

from __future__ import annotations

import io
from contextlib import suppress

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from any_content import cells, csv_text, damage, damaged, masks, quick, written
from doll_monai.findings import FINDINGS
from doll_monai.utils.errors import InputError
from doll_tools.prepare.chexpert import read_chexpert
from doll_tools.prepare.masks import parse_classes, read_mask

LABELS = {"1.0": 1.0, "0": 0.0, "-1.0": -1.0, "": None}


@quick
@given(st.lists(st.lists(st.sampled_from(sorted(LABELS)), min_size=14, max_size=14), min_size=1, max_size=4))
def test_labels_of_chexpert_come_back(labels: list[list[str]]) -> None:
    images = [f"train/patient{number}/view.jpg" for number in range(len(labels))]
    rows = [[image, "Frontal", *row] for image, row in zip(images, labels, strict=True)]
    with written("train.csv", csv_text([["Path", "Frontal/Lateral", *FINDINGS], *rows])) as path:
        (path.parent / images[0]).parent.mkdir(parents=True)
        (path.parent / images[0]).touch()
        found, _ = read_chexpert(path.parent, path.name)
    assert [image.image for image in found] == images
    assert [image.values for image in found] == [[LABELS[cell] for cell in row] for row in labels]


@quick
@given(
    st.lists(
        st.tuples(
            cells | st.sampled_from(["patient1/a.jpg", "x/patient1/" + "a" * 300, "x/patient2/b\0.jpg"]),
            st.sampled_from(["Frontal", "Lateral", "", "frontal"]),
            st.lists(st.sampled_from(["1", "nan", "inf", "1e999", "x", "", "0", "1_0"]), min_size=14, max_size=14),
        ),
        max_size=3,
    )
)
@example([("a" * 300 + "/patient1/b", "Frontal", [""] * 14)])
def test_any_table_of_chexpert_is_read_or_refused(rows: list[tuple[str, str, list[str]]]) -> None:
    content = csv_text([["Path", "Frontal/Lateral", *FINDINGS], *([image, view, *row] for image, view, row in rows)])
    with written("train.csv", content) as path, suppress(InputError):
        read_chexpert(path.parent, path.name)


@quick
@given(st.text("ab=+, ", max_size=12))
def test_any_classes_are_read_or_refused(text: str) -> None:
    with suppress(InputError):
        classes = parse_classes(text)
        assert parse_classes(classes) == classes


@quick
@given(masks, st.sampled_from(["bool", "one", "255", "65535", "color", "palette"]), st.sampled_from(["png", "tif"]))
def test_a_mask_comes_back(mask: np.ndarray, kind: str, suffix: str) -> None:
    values = mask.astype(np.uint8)
    pictures = {
        "bool": lambda: Image.fromarray(mask),
        "one": lambda: Image.fromarray(values),
        "255": lambda: Image.fromarray(values * 255),
        "65535": lambda: Image.fromarray(values.astype(np.uint16) * 65535),
        "color": lambda: Image.fromarray(np.stack([values * 255, 0 * values, 0 * values], axis=-1)),
        "palette": lambda: Image.fromarray(values * 255).convert("P"),
    }
    buffer = io.BytesIO()
    pictures[kind]().save(buffer, {"png": "PNG", "tif": "TIFF"}[suffix])
    with written(f"mask.{suffix}", buffer.getvalue()) as path:
        assert np.array_equal(read_mask(path), mask)


@settings(quick, max_examples=150)
@given(damage, st.integers(0, 40), st.sampled_from(["PNG", "TIFF", "BMP", "JPEG", "GIF"]))
def test_any_mask_is_read_or_refused(changes: list[tuple[int, int]], cut: int, kind: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.arange(48, dtype=np.uint8).reshape(6, 8) * 5).save(buffer, kind)
    with written("mask.png", damaged(buffer.getvalue(), changes, cut)) as path, suppress(InputError):
        assert read_mask(path).dtype == bool
