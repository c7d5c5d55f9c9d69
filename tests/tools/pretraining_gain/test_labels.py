"""Labels of a chosen quality: how wrong they are, and that pre-training reads them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from monai.bundle import ConfigParser
from PIL import Image

from doll_monai.data.label_files import read_label, write_label
from doll_monai.findings import FINDINGS, IGNORE
from doll_monai.utils.errors import InputError
from doll_tools.phantom.dataset import write_dataset
from doll_tools.pretraining_gain.degradation import SHARE, bright_anatomy, degrade, iou, strength_for
from doll_tools.pretraining_gain.films import films_needed, films_to_draw, read_films, split
from doll_tools.pretraining_gain.labels import measure, write_label_folder

ROOT = Path(__file__).resolve().parents[3]
CONFIG = ROOT / "bundles" / "doll_cxr_segmentation" / "configs" / "train.json"


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gain") / "films"
    write_dataset(folder, count=24, seed=0, size=64, valid_share=0.01)
    return folder


def _quality(folder: Path) -> dict:
    return json.loads((folder / "quality.json").read_text())


def _square(size: int = 80) -> tuple[np.ndarray, np.ndarray]:
    mask = np.zeros((size, size + 10), bool)
    mask[10:30, 20:50] = True
    return mask, bright_anatomy(np.tile(np.arange(size + 10, dtype=np.uint8), (size, 1)))


def test_no_strength_is_the_truth() -> None:
    mask, bright = _square()
    assert np.array_equal(degrade(mask, bright, 0.0, np.random.default_rng(0)), mask)


def test_full_strength_takes_the_share_of_a_doll_and_leans_to_bright_anatomy() -> None:
    mask, bright = _square()
    degraded = degrade(mask, bright, 1.0, np.random.default_rng(0))
    assert degraded.mean() == pytest.approx(SHARE, abs=1 / mask.size)
    dark = degrade(mask, 1 - bright, 1.0, np.random.default_rng(0))
    columns = np.arange(mask.shape[1])
    assert (degraded * columns).sum() / degraded.sum() > (dark * columns).sum() / dark.sum() + 10


@pytest.mark.parametrize("wanted", [0.9, 0.5, 0.2])
def test_the_strength_of_a_wanted_quality_is_found(wanted: float) -> None:
    assert 1 / (1 + 9 * strength_for(wanted, lambda s: 1 / (1 + 9 * s))) == pytest.approx(wanted, abs=0.005)


def test_a_quality_out_of_reach_is_refused() -> None:
    with pytest.raises(InputError, match=r"A label quality of 0\.05 is out of reach, the lowest is 0\.10; give more"):
        strength_for(0.05, lambda strength: 1 / (1 + 9 * strength))


@pytest.mark.parametrize("wanted", [1.0, 0.75, 0.25])
def test_labels_have_the_wanted_quality(wanted: float, films: Path, tmp_path: Path) -> None:
    write_label_folder(str(films), str(tmp_path), quality=wanted, validation=5)
    assert _quality(tmp_path)["measured"] == pytest.approx(wanted, abs=0.03 if wanted < 1 else 1e-9)


def test_the_same_seed_gives_the_same_labels_and_another_one_others(films: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        write_label_folder(str(films), str(tmp_path / name), quality=0.5, validation=5, seed=seed)
    contents = {
        name: [path.read_bytes() for path in sorted((tmp_path / name).rglob("*.nii.gz"))] for name in ("a", "b", "c")
    }
    assert contents["a"] == contents["b"]
    assert sum(a != c for a, c in zip(contents["a"], contents["c"], strict=True)) > len(contents["a"]) / 2


def test_labels_of_other_films_are_as_good_as_chance(films: Path, tmp_path: Path) -> None:
    write_label_folder(str(films), str(tmp_path), quality="none", validation=5)
    right = measure(films, read_films(films), tmp_path)
    assert 0 < right["iou"].mean() < 0.15
    assert (right["iou"] < 1).all()


def test_a_label_is_measured_by_its_regions_alone(films: Path, tmp_path: Path) -> None:
    """A missed region and an invented one count 0, a label that says nothing about an observation is left out."""
    write_label_folder(str(films), str(tmp_path), quality=1.0, validation=5)
    film = next(film for film in read_films(films) if len(film.masks) >= 2)
    path = tmp_path / "labels" / film.image.replace(".jpg", ".nii.gz")
    found = read_label(path)
    assert found is not None
    label = found[0].copy()
    missed, silent = list(film.masks)[:2]
    invented = next(channel for channel in range(1, len(FINDINGS)) if channel not in film.masks)
    label[missed], label[silent], label[invented, :5] = 0, IGNORE, 1
    write_label(path, label)
    table = measure(films, [film], tmp_path).set_index("channel")["iou"]
    assert table[missed] == table[invented] == 0
    assert silent not in table
    assert (table.drop([missed, invented]) == 1).all()
    write_label_folder(str(films), str(tmp_path / "elsewhere"), labels=str(tmp_path))
    assert _quality(tmp_path / "elsewhere")["measured"] < 1


def test_the_pre_training_bundle_reads_the_labels(films: Path, tmp_path: Path) -> None:
    write_label_folder(str(films), str(tmp_path), quality=0.5, validation=5)
    parser = ConfigParser(ConfigParser.load_config_file(str(CONFIG)))
    parser.update({"dataset_dir": str(films), "label_dir": str(tmp_path), "image_size": [32, 32]})
    training, validation = (parser.get_parsed_content(f"{name}::dataset") for name in ("train", "validate"))
    assert len(validation) == 5
    found = read_films(films)
    known = {str(films / film.image): film for film in found}
    item = validation[next(n for n in range(5) if known[validation.data[n]["image"]].masks)]
    masks = known[item["image"].meta["filename_or_obj"]].masks
    assert item["label"].shape == (len(FINDINGS), 32, 32)
    assert (item["label"][0] == IGNORE).all()
    for channel in range(1, len(FINDINGS)):
        assert (channel in masks) or not item["label"][channel].any()
    patients = {record["image"].split("/")[-3] for record in training.data}
    assert not patients & {record["image"].split("/")[-3] for record in validation.data}


def test_what_the_bundle_reads_lies_where_the_truth_lies(films: Path, tmp_path: Path) -> None:
    write_label_folder(str(films), str(tmp_path), quality=1.0, validation=5)
    parser = ConfigParser(ConfigParser.load_config_file(str(CONFIG)))
    parser.update({"dataset_dir": str(films), "label_dir": str(tmp_path), "image_size": [64, 64]})
    known = {str(films / film.image): film for film in read_films(films)}
    found = []
    for item in parser.get_parsed_content("validate::dataset"):
        for channel, path in known[item["image"].meta["filename_or_obj"]].masks.items():
            picture = Image.open(films / path).resize((64, 64), Image.Resampling.NEAREST)
            truth = np.asarray(picture).T > 127
            if truth.sum() > 200:  # a smaller one loses too much by half a pixel, in which the two resizings differ
                found.append(iou(np.asarray(item["label"][channel]) == 1, truth))
    assert len(found) >= 3
    assert np.mean(found) > 0.85


@pytest.mark.parametrize("quality", [0, 1.5, "some", True])
def test_an_impossible_quality_is_refused(quality: object, films: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="A label quality is a mean IoU above 0, at most 1, or none"):
        write_label_folder(str(films), str(tmp_path), quality=quality)  # type: ignore[arg-type]


def test_enough_films_are_drawn_and_more_of_them_leave_the_first_where_they_are(films: Path) -> None:
    assert films_to_draw(20, 0) >= 20
    found = read_films(films)
    validation, training = split(found, 5)
    assert len(training) >= len(found) - 5 - 1
    assert films_needed(5, 10) >= 5 + 10
    fewer = split(found[:12], 5)
    assert fewer[0] == validation
    assert fewer[1] == training[: len(fewer[1])]
    assert not {film.patient for film in validation} & {film.patient for film in training}
