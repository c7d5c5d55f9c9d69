"""A tracked run is read back through MLflow's own client."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from monai.bundle import ConfigWorkflow
from PIL import Image

from doll_monai.data.datalist import write_datalist
from doll_monai.data.label_files import write_label
from doll_monai.handlers.tracking import TrackedRun, artifact_folder, default_tracking_uri, executed_configuration
from doll_monai.networks.weights import file_hash

ROOT = Path(__file__).resolve().parents[3]
BUNDLES = ROOT / "bundles"
MEMBERS = BUNDLES / "chexpert_cxr_classification" / "configs" / "members"
BACKBONE = json.loads((MEMBERS / "resnet10_narrow.json").read_text())["network_def"]
NETWORKS = {
    "chexpert_cxr_classification": {"network_def": BACKBONE},
    "doll_cxr_segmentation": {"network_def::backbone": BACKBONE},
    "jsrt_cxr_segmentation": {"network_def::network::backbone": BACKBONE},
}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images with labels of every kind: observations, 14 channels, 3 channels."""
    folder = tmp_path_factory.mktemp("images")
    generator = np.random.default_rng(0)
    records: dict[int, list[dict]] = {0: [], 3: [], 14: []}
    for number in range(6):
        Image.fromarray(generator.integers(0, 255, (40, 48), dtype=np.uint8)).save(folder / f"{number}.png")
        for channels in (3, 14):
            mask = np.zeros((channels, 48, 40), np.uint8)
            mask[:, 10:30, 10:30] = 1
            write_label(folder / f"labels{channels}" / f"{number}.nii.gz", mask)
            records[channels].append({"image": f"{number}.png", "label": f"labels{channels}/{number}.nii.gz"})
        records[0].append({"image": f"{number}.png", "label": [float((number + k) % 2) for k in range(14)]})
    for kind, all_records in records.items():
        write_datalist(folder / f"{kind}.json", {"training": all_records[:4], "validation": all_records[4:]})
    return folder


def _train(bundle: str, images: Path, output: Path, **values: Any) -> None:
    kind = {"chexpert_cxr_classification": 0, "doll_cxr_segmentation": 14}.get(bundle, 3)
    workflow = ConfigWorkflow(
        str(BUNDLES / bundle / "configs" / "train.json"),
        logging_file=False,
        tracking=str(BUNDLES / bundle / "configs" / "mlflow.json"),
        bundle_root=str(BUNDLES / bundle),
        dataset_dir=str(images),
        datalist=str(images / f"{kind}.json"),
        output_dir=str(output),
        ckpt_dir=str(output),
        image_size=[32, 32],
        batch_size=2,
        max_epochs=2,
        num_workers=0,
        **({"label_dir": str(images)} if kind else {}),
        **NETWORKS[bundle],
        **values,
    )
    workflow.initialize()
    workflow.run()
    workflow.finalize()


@pytest.fixture
def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


def _only_run(bundle: str) -> tuple[MlflowClient, Any]:
    client = MlflowClient(default_tracking_uri())
    experiment = client.get_experiment_by_name(bundle)
    assert experiment is not None
    (run,) = client.search_runs(experiment.experiment_id)
    assert run.info.status == "FINISHED"
    return client, run


def _pictured(client: MlflowClient, run: Any) -> list[int]:
    """The epochs whose pictures MLflow's page shows with a slider; of each the picture and a small copy."""
    names = [Path(item.path).name for item in client.list_artifacts(run.info.run_id, "images")]
    found = [re.match(r"overlays\+step\+(\d+)\+timestamp\+.*?(\+compressed\.webp|\.png)$", name) for name in names]
    assert all(found)
    steps = [int(match[1]) for match in found if match]
    assert sorted(steps)[::2] == sorted(steps)[1::2]
    return sorted(set(steps))


def test_a_task_is_tracked(images: Path, at: Path) -> None:
    bundle = "jsrt_cxr_segmentation"
    _train(bundle, images, at / "out", val_interval=1, cache_rate=0.0)
    client, run = _only_run(bundle)
    expected = {
        "network": "AdaptedNetwork(PSPNet(DilatedResNet))",
        "tuning": "adapter",
        "pre-trained network": "none",
        "training images": "4",
        "image size": "32 x 32",
        "epochs": "2",
        "batches per epoch": "2",
        "datalist": f"{images.name}/3.json",
        "datalist hash": file_hash(images / "3.json")[:12],
    }
    assert {name: run.data.params[name] for name in expected} == expected
    names = ("dice", "iou", "dice_lungs", "dice_heart", "dice_clavicles", "iou_heart", "train_loss")
    assert all(run.data.metrics[name] >= 0 for name in names)
    assert run.data.metrics["dice"] == pytest.approx(
        np.mean([run.data.metrics[f"dice_{name}"] for name in ("lungs", "heart", "clavicles")]), abs=1e-5
    )
    assert len(client.get_metric_history(run.info.run_id, "dice_heart")) == 2
    artifacts = {item.path for item in client.list_artifacts(run.info.run_id)}
    assert {"overlays.png", "model"} <= artifacts
    (name,) = (path for path in artifacts if path.startswith("config_"))
    config = json.loads(Path(client.download_artifacts(run.info.run_id, name)).read_text())
    assert config["image_size"] == [32, 32]
    with Image.open(client.download_artifacts(run.info.run_id, "overlays.png")) as picture:
        assert picture.size == (64, 64)  # images in as many rows as columns
    assert _pictured(client, run) == [1, 2]
    kind = client.get_experiment(run.info.experiment_id).tags["mlflow.experimentKind"]
    assert kind == "custom_model_development"
    assert run.data.tags["mlflow.note.content"] == (
        "Segmentation of lungs, heart and clavicles with few annotated images. Look first at overlays (Model metrics; a "
        "slider goes through the epochs, the last is overlays.png below Artifacts); then at the metric dice."
    )
    assert (at / "mlruns" / bundle / run.info.run_id).is_dir()


def test_the_checkpoint_is_in_the_registry(images: Path, at: Path) -> None:
    bundle = "jsrt_cxr_segmentation"
    _train(bundle, images, at / "out", val_interval=2)
    client, run = _only_run(bundle)
    (version,) = client.search_model_versions(f"name='{bundle}'")
    assert version.run_id == run.info.run_id
    mlflow.set_tracking_uri(default_tracking_uri())
    folder = Path(mlflow.artifacts.download_artifacts(f"models:/{bundle}/{version.version}"))
    assert file_hash(folder / "model.pt") == file_hash(at / "out" / "model.pt")
    _train(bundle, images, at / "again", val_interval=2)
    assert len(client.search_model_versions(f"name='{bundle}'")) == 2


def test_a_classifier_is_tracked_by_observation(images: Path, at: Path) -> None:
    bundle = "chexpert_cxr_classification"
    _train(bundle, images, at / "out")
    client, run = _only_run(bundle)
    assert run.data.params["network"] == "ResNet"
    assert {"auroc", "auroc_Edema", "auroc_observations"} <= set(run.data.metrics)
    assert {"overlays.png", "images"} & {item.path for item in client.list_artifacts(run.info.run_id)} == set()
    assert run.data.tags["mlflow.note.content"].endswith("radiographs. Look first at the metric auroc.")


def test_pretraining_is_tracked(images: Path, at: Path) -> None:
    bundle = "doll_cxr_segmentation"
    _train(bundle, images, at / "out", registered_model=None)
    client, run = _only_run(bundle)
    assert run.data.params["classifier"] == "none"
    assert {"label_iou", "label_iou_Edema", "label_iou_Pleural_Effusion"} <= set(run.data.metrics)
    assert "overlays.png" in {item.path for item in client.list_artifacts(run.info.run_id)}
    assert client.search_model_versions(f"name='{bundle}'") == []


def test_a_value_without_number_is_left_out() -> None:
    run = TrackedRun(classes=["lungs", "Pleural Effusion"], tracking_uri="sqlite:///:memory:")
    details = {
        "dice": torch.tensor([[0.5, float("nan")], [1.0, float("nan")]]),
        "iou": torch.tensor([[0.5, 0.25]]),
        "other": torch.tensor([[0.5]]),
    }
    assert run._by_class(details) == {"dice_lungs": 0.75, "iou_lungs": 0.5, "iou_Pleural_Effusion": 0.25}


def test_artifacts_lie_beside_a_local_database(tmp_path: Path) -> None:
    folder = artifact_folder(f"sqlite:///{tmp_path}/mlruns/mlruns.db", "lung")
    assert folder == (tmp_path / "mlruns" / "lung").as_uri()
    assert artifact_folder("http://localhost:5000", "lung") is None


def test_the_newest_configuration_is_found(tmp_path: Path) -> None:
    assert executed_configuration(None, tmp_path) is None
    assert executed_configuration("$x + y", tmp_path) is None
    file = tmp_path / "config_20260101_000000.json"
    file.touch()
    assert executed_configuration("$x + y", tmp_path) == str(file)
    assert executed_configuration(__file__, tmp_path) == __file__
