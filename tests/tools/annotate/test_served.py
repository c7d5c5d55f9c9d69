"""Which bundles the label app serves, and how it is started wrongly."""

from __future__ import annotations

import socket
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from doll_monai.networks.adapter_file import save_adapter
from doll_monai.utils.errors import InputError
from doll_tools.annotate.model import ServedModel
from doll_tools.annotate.served import ServedBundle, find_bundles, read_served, write_served
from doll_tools.annotate.start import start
from doll_tools.annotate.versions import Versions
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
    grey = np.random.default_rng(0).integers(0, 255, (90, 70), dtype=np.uint8)
    Image.fromarray(grey).save(tmp_path / "image.png")
    return str(tmp_path / "image.png")


def _model(run: Path, name: str, folder: Path) -> ServedModel:
    (bundle,) = [bundle for bundle in find_bundles(BUNDLES, run) if bundle.name == name]
    return ServedModel(bundle, Versions(folder / name))


def test_pipeline_s_networks_are_served(run: Path, tmp_path: Path) -> None:
    served = find_bundles(BUNDLES, run, image_size=96)
    assert [bundle.name for bundle in served if bundle.is_task] == [
        "lung_cxr_segmentation",
        "jsrt_cxr_segmentation",
        "covid_cxr_segmentation",
    ]
    sizes = {bundle.name: bundle.image_size for bundle in served}
    assert sizes["lung_cxr_segmentation"] == (96, 96)
    assert sizes["chexpert_cxr_classification"] == (SIDE, SIDE)
    write_served(tmp_path, served)
    assert read_served(tmp_path) == served


def test_bundles_own_weights_are_served(tmp_path: Path) -> None:
    (tmp_path / "chexpert_cxr_classification" / "models").mkdir(parents=True)
    with pytest.raises(InputError, match=r"No bundle in .* has weights; run `make demo`"):
        find_bundles(tmp_path, None)
    (tmp_path / "chexpert_cxr_classification" / "models" / "model.pt").write_bytes(b"")
    assert [bundle.name for bundle in find_bundles(tmp_path, None)] == ["chexpert_cxr_classification"]


def test_scores_of_a_image(run: Path, image: str, tmp_path: Path) -> None:
    model = _model(run, "chexpert_cxr_classification", tmp_path)
    scores, _ = model.probabilities(image)
    members, _ = model.member_logits(image)
    assert scores.shape == (14,)
    assert members.shape == (2, 14)
    assert np.allclose(scores, members.mean(dim=0).sigmoid(), atol=1e-3)


def test_regions_return_to_the_image_s_grid(run: Path, image: str, tmp_path: Path) -> None:
    regions, affine = _model(run, "doll_cxr_segmentation", tmp_path).probabilities(image)
    assert regions.shape == (14, 90, 70)
    assert 0 <= regions.min() <= regions.max() <= 1
    assert affine.shape == (4, 4)


def test_task_without_adapters_is_not_ready_until_some_are_published(run: Path, image: str, tmp_path: Path) -> None:
    model = _model(run, "lung_cxr_segmentation", tmp_path)
    assert not model.is_ready()
    results = []
    for seed in range(2):
        started = model.versions.begin()
        for member in range(2):
            torch.manual_seed(10 * seed + member)
            network = model.served.parser().get_parsed_content("network_def")
            save_adapter(network, started / f"adapter_{member}.pt", None)
        model.served = ServedBundle(**{**vars(model.served), "pretrained": None})
        model.versions.publish(started, {})
        assert model.is_ready()
        assert model.version == seed + 1
        assert model.member_logits(image)[0].shape == (2, 1, SIDE, SIDE)
        results.append(model.probabilities(image)[0])
    assert results[0].shape == (1, 90, 70)
    assert not np.allclose(results[0], results[1])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"studies": "no_folder"}, "The folder of images no_folder does not exist"),
        ({"studies": ".", "bundles": "no_bundles"}, "There are no bundles in no_bundles"),
        ({"studies": ".", "bundles": str(BUNDLES), "run": "no_run"}, r"no_run has no pretraining/model\.pt"),
    ],
)
def test_wrong_start_ends_in_a_sentence(
    options: dict[str, str], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("doll_tools.annotate.start.importlib.util.find_spec", lambda name: name)
    with pytest.raises(InputError, match=sentence):
        start(**options)


def test_taken_port_is_said(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("doll_tools.annotate.start.importlib.util.find_spec", lambda name: name)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(InputError, match=f"Nothing can listen at 127.0.0.1:{port}"):
            start(str(tmp_path), run=str(run), bundles=str(BUNDLES), output=str(tmp_path / "out"), port=port)


def test_missing_monai_label_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("doll_tools.annotate.start.importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="MONAI Label is not installed here; `make label STUDIES=DIR`"):
        start(str(tmp_path))
