"""The whole program on a tiny phantom, and careless use of it."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from mlflow import MlflowClient
from monai.bundle import ConfigParser

from doll_monai.data.datalist import SECTIONS, write_datalist
from doll_monai.findings import FINDINGS
from doll_monai.utils.errors import InputError
from doll_tools.evaluate.request import gradcam_layer
from doll_tools.phantom.dataset import write_dataset
from doll_tools.prepare.chexpert import chexpert_datalist
from doll_tools.release.committee import committee_definition

ROOT = Path(__file__).resolve().parents[3]
MEMBERS = ROOT / "bundles" / "chexpert_cxr_classification" / "configs" / "members"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A phantom, its datalist, and a committee that learnt nothing."""
    folder = tmp_path_factory.mktemp("gate")
    write_dataset(folder, count=40, seed=0, size=64)
    write_datalist(folder / "dataset.json", chexpert_datalist(str(folder)))
    definition = committee_definition(["resnet10_narrow", "densenet_tiny"])
    (folder / "committee.json").write_text(json.dumps({"network_def": definition}))
    torch.manual_seed(0)
    network = ConfigParser({"network_def": definition}).get_parsed_content("network_def")
    torch.save(network.state_dict(), folder / "model.pt")
    return folder


def _values(data: Path, output: Path, **changes: object) -> dict[str, object]:
    return {
        "chexpert": data,
        "checkpoint": data / "model.pt",
        "committee": data / "committee.json",
        "output": output,
        "image_size": 32,
        "ig_steps": 2,
        "num_workers": 0,
        **changes,
    }


def _evaluate(data: Path, output: Path, **changes: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "evaluate_labels.py")]
    command += [f"--{name}={value}" for name, value in _values(data, output, **changes).items()]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_committee_that_learnt_nothing_does_not_pass(data: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    done = _evaluate(data, output, gate="true", choose_on="training")
    assert done.returncode == 3, done.stderr
    assert "the labels do not pass the gate" in done.stdout.strip().splitlines()[-3]
    assert "randomization check fails" in done.stdout

    table = pd.read_csv(output / "evaluation.csv")
    sources = ["consensus", "member_0", "member_1", "gradcam", "randomized", "chance"]
    assert list(table["source"].unique()) == sources
    assert set(table["section"]) <= set(SECTIONS)
    positive = {
        (record["image"], FINDINGS[channel])
        for section in SECTIONS
        for record in json.loads((data / "dataset.json").read_text())[section]
        for channel, value in enumerate(record["label"])
        if value == 1
    }
    truth = pd.read_csv(data / "truth.csv")
    known = set(zip(truth["Path"].str.partition("/")[2], truth["finding"], strict=True))
    pairs = pd.read_csv(output / "pairs.csv")
    assert set(zip(pairs["image"], pairs["observation"], strict=True)) == known & positive
    assert pairs.groupby(["image", "observation"]).size().eq(len(sources)).all()
    assert (pairs["image"].str.startswith("valid/") == (pairs["section"] == "test")).all()
    assert table[["iou_low", "iou", "iou_high"]].dropna().apply(lambda row: row.is_monotonic_increasing, axis=1).all()

    figures = json.loads((output / "evaluation.json").read_text())
    assert figures["settings"]["ig_steps"] == 2
    assert figures["verdicts"][-1]["section"] == "test"
    assert (output / "evaluation.md").read_text() in done.stdout
    client = MlflowClient(f"sqlite:///{output / 'mlruns' / 'mlruns.db'}")
    experiment = client.get_experiment_by_name("doll_cxr_label_generation")
    assert experiment is not None
    (run,) = (run for run in client.search_runs(experiment.experiment_id) if run.info.run_name == "out_evaluation")
    assert run.data.metrics["test.passed"] == 0
    assert 0 <= run.data.metrics["test.consensus.iou"] <= 1
    assert run.data.params["IG steps"] == "2"
    parent = client.get_run(run.data.tags["mlflow.parentRunId"])
    assert "Open first: `evaluation.md`" in parent.data.tags["mlflow.note.content"]
    assert "evaluation.md" in {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert {file.path for file in client.list_artifacts(run.info.run_id)} >= {"evaluation.md", "evaluation.csv"}

    again = _evaluate(data, output, sources="gradcam", resamples=1000)
    assert again.returncode == 0
    assert "done before" in again.stdout
    assert list(pd.read_csv(output / "evaluation.csv")["source"].unique()) == ["consensus", "gradcam"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"checkpoint": "missing.pt"}, "missing.pt does not exist; give the right path."),
        ({"truth": "missing.csv"}, "missing.csv does not exist; give the right path."),
        ({"chexpert": "missing"}, "missing does not exist; give the right path."),
        ({"sources": "consensus,member_7"}, "There is no source member_7; there are: consensus, member_0, member_1,"),
        ({"sections": "training,tests"}, "has no 'tests' records"),
        ({"choose_on": "tests"}, "Nothing can be chosen on 'tests'"),
        ({"ig_step": 3}, "has no value 'ig_step'"),
        ({"resamples": 10}, "resamples must be 1000 or more"),
        ({"gate": "maybe"}, "gate must be true or false, not 'maybe'."),
        ({"committee": "model.pt"}, "cannot be read as JSON"),
        ({"gradcam_layers": ["layer4"]}, "gradcam_layers names 1 layers, but the committee has 2"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_careless_use_is_explained_before_anything_runs(
    data: Path, tmp_path: Path, changes: dict, sentence: str
) -> None:
    files = {name: data / value for name, value in changes.items() if name in ("checkpoint", "truth", "chexpert")}
    files |= {name: data / value for name, value in changes.items() if name == "committee"}
    program = runpy.run_path(str(ROOT / "scripts" / "evaluate_labels.py"))["evaluate_labels"]
    with pytest.raises(InputError, match=re.escape(sentence)):
        program(**_values(data, tmp_path / "out", **{**changes, **files}))
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_truth_without_any_image_ends_with_a_sentence(data: Path, tmp_path: Path) -> None:
    truth = tmp_path / "truth.csv"
    truth.write_text("Path,finding,x,y,width,height\nelsewhere/image.png,Edema,0,0,1,1\n")
    done = _evaluate(data, tmp_path / "out", truth=truth)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "knows no place in any image of the sections training, validation, test." in done.stderr
    assert not (tmp_path / "out" / "scores").exists()


@pytest.mark.parametrize(
    ("definition", "layer"),
    [
        ({"_target_": "resnet50"}, "layer4"),
        ({"_target_": "DenseNet121"}, "features.denseblock4"),
        ({"_target_": "monai.networks.nets.DenseNet", "block_config": [2, 2]}, "features.denseblock2"),
        ({"_target_": "EfficientNetBN"}, "_conv_head"),
    ],
)
def test_gradcam_takes_the_last_layer_of_known_networks(definition: dict, layer: str) -> None:
    assert gradcam_layer(definition) == layer


def test_gradcam_of_another_network_asks_for_its_layer() -> None:
    with pytest.raises(InputError, match="give --gradcam_layers"):
        gradcam_layer({"_target_": "ViT"})
