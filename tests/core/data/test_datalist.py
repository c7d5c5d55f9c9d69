from __future__ import annotations

import json
from pathlib import Path

import pytest

from doll_monai.data.datalist import load_datalist, read_table, relative_path, write_datalist
from doll_monai.utils.errors import InputError


@pytest.fixture
def image(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    path = tmp_path / "images" / "a.png"
    path.touch()
    return path


def test_extra_keys_come_first_and_empty_sections_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "new" / "dataset.json"
    write_datalist(path, {"test": [{"image": "b"}], "validation": [], "training": [{"image": "a"}]}, name="n")
    assert list(json.loads(path.read_text())) == ["name", "training", "test"]
    assert '    {"image": "a"}\n' in path.read_text()
    assert [item.name for item in path.parent.iterdir()] == ["dataset.json"]


def test_a_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "dataset.json"
    write_datalist(path, {"training": [{"image": "a"}]})
    before = path.read_bytes()
    with pytest.raises(ValueError, match="JSON"):
        write_datalist(path, {"training": [{"image": "b", "label": [float("nan")]}]})
    with pytest.raises(InputError, match="no record"):
        write_datalist(path, {"training": []})
    with pytest.raises(ValueError, match="unknown section fold"):
        write_datalist(path, {"fold": [{"image": "a"}]})
    assert path.read_bytes() == before


@pytest.mark.parametrize("path", ["../b.png", "/b.png", "images/../../b.png", "C:\\b.png"])
@pytest.mark.parametrize("key", ["image", "label"])
def test_a_path_that_leads_out_is_refused(key: str, path: str, tmp_path: Path, image: Path) -> None:
    """Results mirror the images' paths: they would be written outside of their folder."""
    records = [{"image": "images/a.png"}, {"image": "images/a.png", key: path}]
    write_datalist(tmp_path / "dataset.json", {"training": records})
    with pytest.raises(InputError, match=r"Record 2 of 'training' in .*: the path '.*' leads out of the data set"):
        load_datalist(tmp_path / "dataset.json", "training", tmp_path)


def test_values_stay_and_paths_are_joined(tmp_path: Path, image: Path) -> None:
    values = [1.0, 0.0, -1.0, None]
    records = [
        {"image": "images/gone.png", "label": "labels/b.nii.gz"},  # a missing first image is no wrong folder
        {"image": "images/a.png", "label": values, "patient": "images"},
    ]
    path = tmp_path / "output" / "dataset.json"
    write_datalist(path, {"training": records})
    by_path, by_values = load_datalist(path, "training", tmp_path, label_dir=tmp_path / "output")
    assert by_values == {"image": str(image), "label": values, "patient": "images"}
    assert by_path["label"] == str(tmp_path / "output" / "labels" / "b.nii.gz")
    assert load_datalist(path, "training", tmp_path)[0]["label"] == str(tmp_path / "labels" / "b.nii.gz")


def test_a_plain_list_of_test_images_is_read_as_monai_does(tmp_path: Path, image: Path) -> None:
    (tmp_path / "dataset.json").write_text('{"test": ["images/a.png"]}')
    assert load_datalist(tmp_path / "dataset.json", "test", tmp_path) == [{"image": str(image)}]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, r"does not exist; write it with doll prepare"),
        ("{", "cannot be read as JSON"),
        ("[]", "must hold one JSON object"),
        (
            '{"validation": [{"image": "a"}], "test": ["a", "b"]}',
            r"no 'training' records.*validation \(1\), test \(2\)",
        ),
        ('{"training": []}', r"no 'training' records; it has: training \(0\)"),
        ("{}", "it has: none at all"),
        ('{"training": [{"image": "images/a.png"}, {"label": [1]}]}', "Record 2 of 'training' in .* has no image"),
        ('{"training": ["images/a.png"]}', "Record 1 of 'training' in .* has no image"),
        ('{"training": [{"image": ["a.png", "b.png"]}]}', "Record 1 of 'training' in .* has no image"),
        ('{"training": [{"image": "a", "label": [2]}]}', "Record 1 of 'training' in .* has the label 2; it must be"),
        (
            '{"training": [{"image": "a", "label": [1]}, {"image": "b", "label": [1, 0]}]}',
            "Record 2 of 'training' in .* has 2 labels, the first one 1",
        ),
        (
            '{"training": [{"image": "images/z.png"}]}',
            "first image of 'training' .* does not exist: .*z.png; dataset_dir",
        ),
    ],
)
def test_a_bad_datalist_is_one_sentence(tmp_path: Path, image: Path, content: str | None, sentence: str) -> None:
    path = tmp_path / "dataset.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=sentence) as caught:
        load_datalist(path, "training", tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "does not exist"),
        (b"", "no column a; it has: none"),
        (b"b,c\n1,2\n", "no column a; it has: b, c"),
        (b"a,b\n1,2\n\n1\n", "line 4: 1 cells for 2 columns"),
        (b"a,b\n1,2,3\n", "line 2: 3 cells for 2 columns"),
        (b"a,b\n\xff,2\n", "UTF-8"),
    ],
)
def test_a_bad_table_is_one_sentence(tmp_path: Path, content: bytes | None, sentence: str) -> None:
    path = tmp_path / "t.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        list(read_table(path, ["a"]))


def test_cells_are_kept_as_strings(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b'\xef\xbb\xbfa,b\r\n1.0, NA \r\n"x,y",\r\n')
    assert list(read_table(tmp_path / "t.csv", ["a"])) == [(2, {"a": "1.0", "b": "NA"}), (3, {"a": "x,y", "b": ""})]


@pytest.mark.parametrize("path", ["../a", "a/../../b", "/a", "C:/a", r"a\..\..\b", r"\\host\a", ""])
def test_a_path_may_not_leave_the_data_set(path: str) -> None:
    with pytest.raises(InputError, match=r"leads out of the data set|blank"):
        relative_path(path, "t.csv, line 2")
    assert relative_path("./a//b..c/d.png", "t.csv") == "a/b..c/d.png"


def test_a_column_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b,a\n1,2,3\n")
    assert list(read_table(tmp_path / "t.csv", ["b"])) == [(2, {"a": "3", "b": "2"})]
    with pytest.raises(InputError, match="has the column a twice"):
        list(read_table(tmp_path / "t.csv", iter(["a"])))
