"""Pseudonyms say nothing without their key, and lead back with it."""

from __future__ import annotations

import csv
import json
import stat
from pathlib import Path

import pytest

from doll_monai.data.datalist import load_datalist, write_datalist
from doll_monai.utils.errors import InputError
from doll_tools.annotate.pseudonymize import pseudonym, pseudonymize, read_key

NAMES = ("doe_jane_1950/2020-03-04/front.png", "doe_jane_1950/2020-03-04/second.png", "roe/2021/front.nii.gz")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    for number, name in enumerate(NAMES):
        for path in (folder / name, folder / "masks" / name):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(bytes([number]))
    records = [
        {"image": name, "label": f"masks/{name}", "patient": name.split("/")[0], "birth": "1950"} for name in NAMES
    ]
    write_datalist(folder / "dataset.json", {"training": records[:2], "test": records[2:]}, name="Doe's images")
    return folder


def _write(images: Path, folder: Path, output: str = "out", key: str = "keep/key", names: str = "keep/names") -> Path:
    secrets = {"key": str(folder / key), "names": str(folder / names)}
    pseudonymize(str(images / "dataset.json"), str(images), str(folder / output), quiet=True, **secrets)
    return folder / output


def test_nothing_of_the_names_is_left_and_only_the_owner_s_table_leads_back(images: Path, tmp_path: Path) -> None:
    output = _write(images, tmp_path)
    said = (output / "dataset.json").read_text() + " ".join(str(path) for path in output.rglob("*"))
    for word in ("doe", "jane", "1950", "2020", "roe", "2021", "front", "Doe"):
        assert word not in said.replace(str(tmp_path), "")
    for section, numbers in (("training", (0, 1)), ("test", (2,))):
        for number, record in zip(numbers, load_datalist(output / "dataset.json", section, output), strict=True):
            assert set(record) == {"image", "label", "patient"}
            assert Path(record["image"]).read_bytes() == Path(record["label"]).read_bytes() == bytes([number])
            assert record["image"].endswith(".nii.gz" if number == 2 else ".png")
    first, second = load_datalist(output / "dataset.json", "training", output)
    assert Path(first["image"]).parent == Path(second["image"]).parent
    assert first["image"] != second["image"]
    assert first["patient"] == second["patient"]
    with (tmp_path / "keep" / "names").open() as file:
        rows = {row["pseudonym"]: row["path"] for row in csv.DictReader(file)}
    assert sorted(rows.values()) == sorted(NAMES)
    for other, name in rows.items():
        assert (output / other).resolve() == (images / name).resolve()
    for secret in ("key", "names"):
        assert stat.S_IMODE((tmp_path / "keep" / secret).stat().st_mode) == 0o600


def test_the_same_key_gives_the_same_names_and_another_one_others(images: Path, tmp_path: Path) -> None:
    before = (_write(images, tmp_path) / "dataset.json").read_bytes()
    assert (_write(images, tmp_path) / "dataset.json").read_bytes() == before
    assert (_write(images, tmp_path, "other", "keep/other") / "dataset.json").read_bytes() != before
    image = json.loads(before)["training"][0]["image"]
    assert image == f"images/{pseudonym(NAMES[0], read_key(tmp_path / 'keep' / 'key'))}"


@pytest.mark.parametrize("secret", ["key", "names"])
def test_secrets_do_not_lie_beside_what_is_passed_on(secret: str, images: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="put it elsewhere"):
        _write(images, tmp_path, **{secret: "out/secret"})
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", ["no hexadecimal digits", "ab"])
def test_a_file_that_is_no_key_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(content)
    with pytest.raises(InputError, match="holds no key of 32 bytes"):
        read_key(tmp_path / "key")


def test_a_file_in_the_place_of_a_link_stays_and_a_missing_image_is_named(images: Path, tmp_path: Path) -> None:
    link = next(_write(images, tmp_path).rglob("*.png"))
    link.unlink()
    link.write_bytes(b"mine")
    with pytest.raises(InputError, match="leads elsewhere"):
        _write(images, tmp_path)
    assert link.read_bytes() == b"mine"
    (images / NAMES[0]).unlink()
    with pytest.raises(InputError, match=r"front\.png does not exist"):
        _write(images, tmp_path, "other")


def test_what_looks_like_a_suffix_is_part_of_the_name() -> None:
    for name in ("DOE.JOHN", "1.2.840.113619.2.55.7", "x.nii.smith"):
        assert "." not in pseudonym(name, bytes(32))
    assert pseudonym("DOE.JOHN.PNG", bytes(32)).count(".") == 1


def test_images_without_labels_and_values_as_labels_are_taken(images: Path, tmp_path: Path) -> None:
    sections = {"training": [{"image": NAMES[0], "label": [1, None, 0]}], "test": [NAMES[2]]}
    (images / "dataset.json").write_text(json.dumps(sections))
    output = _write(images, tmp_path)
    content = json.loads((output / "dataset.json").read_text())
    assert content["training"][0]["label"] == [1, None, 0]
    assert (output / content["test"][0]["image"]).read_bytes() == b"\2"
