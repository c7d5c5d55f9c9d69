"""What the bundles put into MLflow: parameters, metrics by class, pictures, configuration and the model."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import torch
from ignite.engine import Engine
from mlflow import MlflowClient
from PIL import Image

from doll_monai.handlers.tracking import (
    TrackedRun,
    artifact_folder,
    class_means,
    default_tracking_uri,
    executed_configuration,
)
from doll_monai.networks.weights import file_hash
from doll_monai.utils.errors import InputError
from few_images import on_images, run, write_images
from narrow import ROOT


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("images"))


@pytest.fixture
def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


def _tracked(name: str, images: Path, output: Path, **values: Any) -> tuple[MlflowClient, Any]:
    """Train a bundle with its tracking settings; the client and the bundle's latest run."""
    bundle = ROOT / "bundles" / name
    settings = str(bundle / "configs" / "mlflow.json")
    run(bundle, ["train"], {**on_images(bundle, images, output), "max_epochs": 2, "tracking": settings, **values})
    client = MlflowClient(default_tracking_uri())
    experiment = client.get_experiment_by_name(name)
    assert experiment is not None
    latest = client.search_runs(experiment.experiment_id)[0]
    assert latest.info.status == "FINISHED"
    return client, latest


def test_a_task_is_tracked_under_the_ids_of_its_configuration_and_registered(images: Path, at: Path) -> None:
    name = "jsrt_cxr_segmentation"
    client, tracked = _tracked(name, images, at / "out")
    expected = {
        "network": "AdaptedNetwork(PSPNet(DilatedResNet))",
        "tuning": "adapter",
        "pretrained": "None",
        "image_size": "[32, 32]",
        "max_epochs": "2",
        "datalist": str(images / "3.json"),
        "datalist_sha256": file_hash(images / "3.json"),
    }
    assert {key: tracked.data.params[key] for key in expected} == expected
    classes = [tracked.data.metrics[f"dice_{label}"] for label in ("lungs", "heart", "clavicles")]
    assert tracked.data.metrics["dice"] == pytest.approx(np.mean(classes), abs=1e-5)
    assert tracked.data.metrics["train_loss"] > 0
    assert len(client.get_metric_history(tracked.info.run_id, "iou_heart")) == 2
    artifacts = {item.path for item in client.list_artifacts(tracked.info.run_id)}
    assert {"overlays.png", "model"} <= artifacts
    (config,) = (path for path in artifacts if path.startswith("config_"))
    merged = json.loads(Path(client.download_artifacts(tracked.info.run_id, config)).read_text())
    assert merged["image_size"] == [32, 32]
    with Image.open(client.download_artifacts(tracked.info.run_id, "overlays.png")) as picture:
        assert picture.size == (64, 64), "four validation images in a square"
    steps = [item.path for item in client.list_artifacts(tracked.info.run_id, "images")]
    assert {path.split("+")[2] for path in steps} == {"1", "2"}
    kind = client.get_experiment(tracked.info.experiment_id).tags["mlflow.experimentKind"]
    assert kind == "custom_model_development"
    note = "Segmentation of lungs, heart and clavicles with few annotated images."
    assert tracked.data.tags["mlflow.note.content"] == note
    assert (at / "mlruns" / name / tracked.info.run_id).is_dir()

    (version,) = client.search_model_versions(f"name='{name}'")
    assert version.run_id == tracked.info.run_id
    mlflow.set_tracking_uri(default_tracking_uri())
    folder = Path(mlflow.artifacts.download_artifacts(f"models:/{name}/{version.version}"))
    assert file_hash(folder / "model.pt") == file_hash(at / "out" / "model.pt")
    _tracked(name, images, at / "again", max_epochs=1)
    assert len(client.search_model_versions(f"name='{name}'")) == 2


def test_a_classifier_is_tracked_by_observation(images: Path, at: Path) -> None:
    client, tracked = _tracked("chexpert_cxr_classification", images, at / "out", registered_model=None)
    assert {"auroc", "auroc_Edema", "auroc_observations"} <= set(tracked.data.metrics)
    assert "overlays.png" not in {item.path for item in client.list_artifacts(tracked.info.run_id)}
    assert client.search_model_versions("name='chexpert_cxr_classification'") == []


def test_a_value_without_number_is_left_out() -> None:
    details = {
        "dice": torch.tensor([[0.5, float("nan")], [1.0, float("nan")]]),
        "iou": torch.tensor([[0.5, 0.25]]),
        "other": torch.tensor([[0.5]]),
    }
    means = class_means(details, ["lungs", "Pleural Effusion"])
    assert means == {"dice_lungs": 0.75, "iou_lungs": 0.5, "iou_Pleural_Effusion": 0.25}


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


def test_the_argument_wins_over_the_environment(at: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given, other = (f"sqlite:///{at / name}.db" for name in ("given", "other"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", other)
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", other)
    assert default_tracking_uri() == other
    weights = at / "model.pt"
    weights.touch()
    engine = Engine(lambda _engine, _batch: {"loss": 1.0})
    handler = TrackedRun(
        given, "lungs", {"seed": 1}, checkpoint=weights, registered_model="net", output_transform=lambda output: output
    )
    handler.attach(engine)
    engine.run([0])
    client = MlflowClient(given, given)
    (tracked,) = client.search_runs(client.get_experiment_by_name("lungs").experiment_id)
    assert (tracked.data.params["seed"], tracked.data.metrics["loss"]) == ("1", 1.0)
    assert client.search_model_versions("name='net'")[0].run_id == tracked.info.run_id
    assert not (at / "other.db").exists()
    assert os.environ["MLFLOW_TRACKING_URI"] == other


def test_a_deleted_experiment_is_named_before_the_run(at: Path) -> None:
    client = MlflowClient(default_tracking_uri())
    number = client.create_experiment("lungs")
    client.delete_experiment(number)
    with pytest.raises(
        InputError, match=rf"experiment lungs in \S+ was deleted; restore it: .* --experiment-id {number}$"
    ):
        TrackedRun(default_tracking_uri(), "lungs")
    client.restore_experiment(number)
    TrackedRun(default_tracking_uri(), "lungs")
