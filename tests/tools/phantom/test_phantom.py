"""The phantom: honest masks, CheXpert's layout, the same bytes for the same seed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.ndimage import binary_dilation

from doll_monai.findings import FINDINGS
from doll_monai.utils.errors import InputError
from doll_tools.cli import main
from doll_tools.phantom.dataset import write_dataset
from doll_tools.phantom.findings import DRAW, OPACITIES
from doll_tools.phantom.image import Radiograph, draw_image

IMAGES = 80
SIZE = 128


@pytest.fixture(scope="module")
def images() -> list[Radiograph]:
    return [draw_image(np.random.default_rng([7, index]), SIZE) for index in range(IMAGES)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("sets") / "Phantom-small"
    write_dataset(output, count=60, seed=3, size=64)
    return output


def _width(mask: np.ndarray) -> int:
    columns = np.flatnonzero(mask.any(0))
    return int(columns[-1] - columns[0]) + 1


def _digests(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_same_seed_gives_the_same_bytes_and_images_do_not_depend_on_their_number(tmp_path: Path, folder: Path) -> None:
    for name, seed, count in (("a", 3, 12), ("b", 3, 12), ("c", 6, 10)):
        write_dataset(tmp_path / name / "Phantom-small", count=count, seed=seed, size=64)
    first, second, other = (_digests(tmp_path / name / "Phantom-small") for name in "abc")
    many, image = _digests(folder), "train/patient00001/study1/view1_frontal.jpg"
    assert first == second
    assert first[image] != other[image]
    assert all(many[name] == digest for name, digest in first.items() if not name.endswith((".csv", ".json")))


def test_every_finding_occurs_and_has_a_mask_inside_the_body_where_it_is_positive(images: list[Radiograph]) -> None:
    for name in DRAW:
        assert sum(image.labels[name] for image in images) >= 0.04 * IMAGES, name
    for image in images:
        assert image.image.dtype == np.uint8
        assert set(image.masks) == {name for name in FINDINGS if image.labels[name] == 1} - {"No Finding"}
        assert all(mask.any() for mask in image.masks.values())
        assert not any((mask & ~image.body).any() for mask in (*image.masks.values(), *image.structures.values()))


def test_no_finding_allows_devices_only_and_lung_opacity_unites_the_specific_ones(images: list[Radiograph]) -> None:
    for image in images:
        assert image.labels["No Finding"] == float(not set(image.masks) - {"Support Devices"})
        for name in set(OPACITIES) & set(image.masks):
            assert not (image.masks[name] & ~image.masks["Lung Opacity"]).any()
    assert 0.15 < np.mean([image.labels["No Finding"] for image in images]) < 0.4


@pytest.mark.parametrize("name", sorted(set(DRAW) - {"Support Devices"}))
def test_a_finding_changes_the_image_near_its_mask_only(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, total = 0.0, 0.0
    for index in range(4):
        pair = []
        for chosen in ({}, {name: 0.9}):
            monkeypatch.setattr("doll_tools.phantom.image.choose_findings", lambda rng, chosen=chosen: chosen)
            pair.append(draw_image(np.random.default_rng(index), SIZE))
        change = np.abs(pair[1].image.astype(float) - pair[0].image)
        near = binary_dilation(pair[1].masks[name], iterations=2)
        inside, total = inside + change[near].sum(), total + change.sum()
    assert inside / total > 0.8


def test_cardiomegaly_widens_the_heart(images: list[Radiograph]) -> None:
    ratios: dict[float, list[float]] = {0.0: [], 1.0: []}
    for image in images:
        lungs = image.structures["right_lung"] | image.structures["left_lung"]
        ratios[image.labels["Cardiomegaly"]].append(_width(image.structures["heart"]) / _width(lungs))
    assert np.mean(ratios[1.0]) > np.mean(ratios[0.0]) + 0.08


def test_effusion_lies_at_the_base(images: list[Radiograph]) -> None:
    for image in (image for image in images if image.labels["Pleural Effusion"] == 1):
        fluid = np.flatnonzero(image.masks["Pleural Effusion"].any(1))
        lungs = np.flatnonzero((image.structures["right_lung"] | image.structures["left_lung"]).any(1))
        assert fluid.mean() > lungs.mean()
        assert fluid.max() > lungs.min() + 0.8 * (lungs.max() - lungs.min())


def test_pneumothorax_is_darker_than_the_lung_of_the_other_side(images: list[Radiograph]) -> None:
    differences = []
    for image in images:
        if image.labels["Pneumothorax"] == 1:
            mask = image.masks["Pneumothorax"]
            right = (mask & image.structures["right_lung"]).sum() > (mask & image.structures["left_lung"]).sum()
            lung = image.structures["right_lung" if right else "left_lung"]
            differences.append(image.image[lung & ~mask].mean() - image.image[mask].mean())
    assert np.mean(differences) > 5


def test_csv_files_are_chexperts_with_uncertain_and_blank_labels_and_the_truth_in_valid(folder: Path) -> None:
    patients, labels = [], []
    for split in ("train", "valid"):
        table = pd.read_csv(folder / f"{split}.csv")
        assert list(table.columns) == ["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *FINDINGS]
        pattern = rf"Phantom-small/{split}/(patient\d{{5}})/study[12]/view[12]_(?:frontal|lateral)\.jpg"
        patients.append(set(table["Path"].str.extract(pattern)[0]))
        labels.append(table[list(FINDINGS)].stack(future_stack=True).fillna("blank").value_counts(normalize=True))
        assert table["Path"].str.fullmatch(pattern).all()
        assert all((folder.parent / path).is_file() for path in table["Path"])
    assert all(patients)
    assert not patients[0] & patients[1]
    assert set(labels[0].index) == {"blank", 0.0, 1.0, -1.0}
    assert labels[0]["blank"] > 0.4
    assert labels[0][-1.0] < 0.1
    assert set(labels[1].index) == {0.0, 1.0}


def test_truth_and_index_name_masks_of_the_images_size(folder: Path) -> None:
    truth, index = pd.read_csv(folder / "truth.csv"), pd.read_csv(folder / "index.csv")
    assert len(index) == 60
    valid = pd.read_csv(folder / "valid.csv").query("`Frontal/Lateral` == 'Frontal'").set_index("Path")
    shown = set(zip(truth["Path"], truth["finding"], strict=True))
    for path, row in valid.iterrows():
        assert {name for name in FINDINGS[1:] if row[name] == 1} == {finding for at, finding in shown if at == path}
    for row in index.itertuples():
        for name in ("right_lung", "left_lung", "heart", "clavicles", "infection"):
            mask = np.asarray(Image.open(folder / getattr(row, name)))
            assert mask.shape == np.asarray(Image.open(folder / row.image)).shape
            assert set(np.unique(mask)) <= {0, 255}
            assert mask.any() or name in ("infection", "clavicles")
    for row in truth.itertuples():
        assert np.asarray(Image.open(folder / row.mask)).any()


@pytest.mark.parametrize(
    "wrong", [{"count": 9}, {"size": 63}, {"seed": -1}, {"count": "many"}, {"valid_share": 1.5}], ids=str
)
def test_arguments_out_of_range_are_refused(tmp_path: Path, wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match=f"--{next(iter(wrong))}"):
        write_dataset(**{"output": tmp_path / "set", "count": 10, "seed": 0, "size": 64} | wrong)
    assert not (tmp_path / "set").exists()


def test_the_command_writes_a_set_and_then_refuses_the_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["prepare", "phantom", "--output", str(tmp_path / "set"), "--count", "10", "--seed", "0", "--size", "64"]
    assert main(command) == 0
    assert (tmp_path / "set" / "train.csv").is_file()
    assert main(command) == 1
    assert "already holds a data set (train.csv); choose another folder or delete it." in capsys.readouterr().err
