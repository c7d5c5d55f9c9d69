"""The whole pipeline on a tiny phantom: all four stages, from images to a segmentation model."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from mlflow import MlflowClient

from doll_monai.data.datalist import load_datalist
from doll_monai.findings import FINDINGS
from doll_monai.transforms.reading import LoadLabeld
from doll_tools.phantom.dataset import write_dataset
from doll_tools.pipeline.plan import Plan
from doll_tools.pipeline.runner import Runner
from tiny_preset import PRESET


def _run(folder: Path, quiet: bool = False) -> list[dict[str, Any]]:
    plan = Plan(folder / "run", folder / "phantom", "lungs", folder / "phantom", PRESET, folder / "phantom")
    return Runner(folder / "run", folder / "mlruns", quiet=quiet).run(plan.stages(), "a test")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_pipeline_runs_from_images_to_a_segmentation_model_and_only_once(tmp_path: Path) -> None:
    phantom, run = tmp_path / "phantom", tmp_path / "run"
    write_dataset(phantom, count=60, seed=0, size=64)
    records = _run(tmp_path)

    logs = {path.stem: path.read_bytes() for path in run.glob("logs/*.log")}
    assert set(logs) == {record["name"] for record in records}
    tracked = [record for record in records if record["run_id"]]
    assert {logs[record["name"]].count(b"(100 %)") for record in tracked} == {1}
    assert all(b"\r" not in log for log in logs.values())
    for model in ("members/resnet10_narrow", "members/densenet_tiny", "committee", "pretraining", "lungs/adapter"):
        weights = torch.load(run / model / "model.pt", weights_only=True)
        assert all(bool(torch.isfinite(value).all()) for value in weights.values())
    adapter = torch.load(run / "lungs" / "adapter" / "adapter.pt", weights_only=True)["model"]
    scratch = torch.load(run / "lungs" / "scratch" / "model.pt", weights_only=True)
    assert sum(value.numel() for value in adapter.values()) < sum(value.numel() for value in scratch.values())
    for folder in ("classifier", "lungs/adapter/evaluation", "lungs/scratch/evaluation"):
        assert (run / folder / "metrics.csv").read_text()

    labels = run / "labels"
    images = json.loads((run / "chexpert" / "dataset.json").read_text())
    for section in ("training", "validation"):
        loaded = load_datalist(labels / "dataset.json", section, phantom, labels)
        assert len(loaded) == len(images[section])
        for record, image in zip(loaded, images[section], strict=True):
            label = LoadLabeld("label", channels=14, ignore=True)(record)["label"]
            assert label.shape == (14, 48, 48)
            for channel, value in enumerate(image["label"]):
                has_foreground = bool((label[channel] == 1).any())
                assert has_foreground == (value == 1 and FINDINGS[channel] != "No Finding")
    assert {row["observation"] for row in csv.DictReader((labels / "labels.csv").open())} <= set(FINDINGS)
    assert (run / "localization" / "test" / "localization.csv").is_file()
    masks = sorted(path.relative_to(run / "organs" / "masks") for path in run.glob("organs/masks/**/*_heart.nii.gz"))
    assert len(masks) == sum(map(len, (images[section] for section in ("training", "validation", "test"))))
    assert json.loads((labels / "provenance.json").read_text())["region_floor"] == 0.1
    first = json.loads((run / "organs" / "labels" / "provenance.json").read_text())
    assert first["regions"] is None
    task = json.loads((run / "task" / "dataset.json").read_text())
    assert len(list((run / "lungs" / "adapter" / "predictions").rglob("*.nii.gz"))) == len(task["test"])

    client = MlflowClient(f"sqlite:///{tmp_path / 'mlruns' / 'mlruns.db'}")
    runs = [client.get_run(record["run_id"]) for record in tracked]
    assert len(runs) >= 8
    assert {child.info.status for child in runs} == {"FINISHED"}
    pretraining = next(child for child in runs if str(child.info.run_name).startswith("pretrain_"))
    assert 0 <= pretraining.data.metrics["label_iou"] <= 1

    assert _run(tmp_path, quiet=True) == records  # a stage that runs again takes longer
