"""Which bundles are served, with which networks; the last good version stays in use whatever happens."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from doll_monai.networks.weights import save_adapter
from doll_monai.utils.errors import InputError
from doll_tools.annotate.model import TASKS, ServedModel, find_models
from narrow import ROOT
from seeded_run import SIDE, write_seeded_run

BUNDLES = ROOT / "bundles"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pipeline") / "run"
    write_seeded_run(folder)
    return folder


@pytest.fixture
def image(tmp_path: Path) -> str:
    gray = np.random.default_rng(0).integers(0, 255, (90, 70), dtype=np.uint8)
    Image.fromarray(gray).save(tmp_path / "image.png")
    return str(tmp_path / "image.png")


def _model(run: Path, name: str, folder: Path) -> ServedModel:
    return find_models({"bundles": str(BUNDLES), "run": str(run)}, folder)[name]


def _train(model: ServedModel, seed: int) -> Path:
    """A finished training that was not published yet."""
    started = model.begin()
    (started / "member_0").mkdir()
    for member in range(2):
        torch.manual_seed(10 * seed + member)
        network = model.parser().get_parsed_content("network_def")
        save_adapter(network, started / f"adapter_{member}.pt", model.pretrained)
    return started


def test_pipeline_s_networks_are_served(run: Path) -> None:
    served = find_models({"bundles": str(BUNDLES), "run": str(run), "image_size": "96"}, run)
    assert set(TASKS) < set(served)
    assert served["lung_cxr_segmentation"].image_size == [96, 96]
    assert served["chexpert_cxr_classification"].image_size == [SIDE, SIDE]


def test_bundles_own_weights_are_served(tmp_path: Path) -> None:
    models = tmp_path / "chexpert_cxr_classification" / "models"
    shutil.copytree(BUNDLES / models.parent.name, models.parent, ignore=shutil.ignore_patterns("*.pt"))
    with pytest.raises(InputError, match=r"No bundle in .* has weights; run `doll demo`"):
        find_models({"bundles": str(tmp_path)}, tmp_path)
    models.mkdir(exist_ok=True)
    (models / "model.pt").write_bytes(b"")
    assert list(find_models({"bundles": str(tmp_path)}, tmp_path)) == ["chexpert_cxr_classification"]


def test_scores_and_regions_of_an_image(run: Path, image: str, tmp_path: Path) -> None:
    model = _model(run, "chexpert_cxr_classification", tmp_path)
    members, _ = model.member_logits(image)
    assert members.shape == (2, 14)
    assert np.allclose(model.probabilities(image)[0], members.mean(dim=0).sigmoid(), atol=1e-3)
    regions, affine = _model(run, "doll_cxr_segmentation", tmp_path).probabilities(image)
    assert regions.shape == (14, 90, 70)
    assert 0 <= regions.min() <= regions.max() <= 1
    assert affine.shape == (4, 4)


def test_the_last_published_training_is_in_use(run: Path, image: str, tmp_path: Path) -> None:
    model = _model(run, "lung_cxr_segmentation", tmp_path)
    assert not model.is_ready()
    results = []
    for number in (1, 2):
        model.publish(_train(model, seed=number), {"images": number})
        assert model.stats() == {"version": number, "images": number}
        assert model.member_logits(image)[0].shape == (2, 1, SIDE, SIDE)
        results.append(model.probabilities(image)[0])
    assert results[0].shape == (1, 90, 70)
    assert not np.allclose(results[0], results[1])
    _train(model, seed=3)  # killed before it was published
    assert model.version == 2
    assert np.array_equal(model.probabilities(image)[0], results[1])
    assert model.begin().name == "0003.part"
    assert {path.name for path in (model.folder / "0001").iterdir()} == {"adapter_0.pt", "adapter_1.pt", "stats.json"}
