"""The whole program on a tiny phantom, and careless use of it."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from mlflow import MlflowClient
from monai.bundle import ConfigParser

from doll_monai.data.datalist import SECTIONS
from doll_monai.findings import FINDINGS
from doll_monai.utils.errors import InputError
from doll_tools.arguments import bundles_folder
from doll_tools.check.command import check
from doll_tools.cli import main
from doll_tools.evaluate.command import BUNDLE, QUALITY_CHECK, gradcam_layer
from doll_tools.phantom.dataset import write_dataset
from doll_tools.prepare.chexpert import prepare_chexpert
from doll_tools.release.committee import committee_definition


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A phantom, its datalist, and a committee that learnt nothing."""
    folder = tmp_path_factory.mktemp("data")
    write_dataset(folder, count=40, seed=0, size=64)
    prepare_chexpert(folder, output=folder / "dataset.json")
    definition = committee_definition(["resnet10_narrow", "densenet_tiny"])
    (folder / "committee.json").write_text(json.dumps({"network_def": definition}))
    torch.manual_seed(0)
    network = ConfigParser({"network_def": definition}).get_parsed_content("network_def")
    torch.save(network.state_dict(), folder / "model.pt")
    return folder


def _evaluate(data: Path, output: Path, **changes: object) -> int:
    values = {
        "chexpert": data,
        "checkpoint": data / "model.pt",
        "committee": data / "committee.json",
        "output": output,
        "image_size": 32,
        "ig_steps": 2,
        "num_workers": 0,
        **changes,
    }
    return main(["evaluate", *(f"--{name}={value}" for name, value in values.items())])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_committee_that_learnt_nothing_does_not_pass(data: Path, tmp_path: Path, capfd) -> None:
    output = tmp_path / "out"
    with pytest.raises(SystemExit) as stopped:
        _evaluate(data, output, strict=True)
    assert stopped.value.code == 3
    printed = capfd.readouterr().out
    assert "the labels do not pass the label quality check" in printed
    assert "are not shown to beat" in printed
    assert (output / "evaluation.md").read_text() in printed
    assert "nan" not in printed.partition("# Label quality check")[2]

    table = pd.read_csv(output / "evaluation.csv")
    sources = ["consensus", "member_0", "member_1", "gradcam", "randomized", "chance", "location_prior"]
    assert list(table["source"].unique()) == sources
    assert set(table["section"]) <= set(SECTIONS)
    listed = json.loads((data / "dataset.json").read_text())
    labels = {
        record["image"]: dict(zip(FINDINGS, record["label"], strict=True)) for s in SECTIONS for record in listed[s]
    }
    truth = pd.read_csv(data / "truth.csv")
    known = set(zip(truth["Path"].str.partition("/")[2], truth["finding"], strict=True))
    pairs = pd.read_csv(output / "pairs.csv")
    expected = {(image, finding) for image, finding in known if labels[image][finding] == 1}
    assert set(zip(pairs["image"], pairs["observation"], strict=True)) == expected
    assert (pairs["image"].str.startswith("valid/") == (pairs["section"] == "test")).all()

    figures = json.loads((output / "evaluation.json").read_text())
    assert figures["settings"]["ig_steps"] == 2
    assert figures["decisions"][-1]["section"] == "test"
    client = MlflowClient(f"sqlite:///{output / 'mlruns' / 'mlruns.db'}")
    experiment = client.get_experiment_by_name("pipeline")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.metrics["test.passed"] == 0
    assert 0 <= run.data.metrics["test.location_prior.iou"] <= 1
    assert "Open first: `evaluation.md`" in run.data.tags["mlflow.note.content"]
    assert {"evaluation.md", "evaluation.csv"} <= {file.path for file in client.list_artifacts(run.info.run_id)}

    assert _evaluate(data, output) == 0
    assert "done before" in capfd.readouterr().out


def test_the_checks_configuration_fits_the_bundle(data: Path) -> None:
    bundle = bundles_folder() / BUNDLE
    own = [bundle / "configs" / f"{name}.json" for name in ("inference", "evaluate")]
    check(str(bundle), [str(path) for path in (*own, QUALITY_CHECK)], checkpoint=data / "model.pt", dataset_dir=data)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"checkpoint": "missing.pt"}, "missing.pt does not exist; give the right path."),
        ({"sections": "training,tests"}, "has no 'tests' records"),
        ({"ig_step": 3}, "has no value 'ig_step'"),
        ({"resamples": 10}, "resamples must be 1000 or more"),
        ({"strict": "maybe"}, "strict must be true or false, not 'maybe'."),
        ({"committee": "model.pt"}, "cannot be read as JSON"),
        ({"gradcam_layers": "[layer4]"}, "gradcam_layers names 1 layers, but the committee has 2"),
        ({"ground_truth": "elsewhere.csv"}, "has no image of the sections training, validation, test."),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_careless_use_is_explained_before_anything_runs(
    data: Path, tmp_path: Path, changes: dict, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "elsewhere.csv").write_text("Path,finding,x,y,width,height\nelsewhere/image.png,Edema,0,0,1,1\n")
    files = ("checkpoint", "ground_truth", "chexpert", "committee")
    changes = {name: data / value if name in files else value for name, value in changes.items()}
    assert _evaluate(data, tmp_path / "out", **changes) == 1
    assert sentence in capsys.readouterr().err.strip().splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_gradcam_takes_the_last_layer_of_known_networks_and_asks_for_that_of_others() -> None:
    assert gradcam_layer({"_target_": "resnet50"}) == "layer4"
    assert gradcam_layer({"_target_": "DenseNet121"}) == "features.denseblock4"
    small = {"_target_": "monai.networks.nets.DenseNet", "block_config": [2, 2]}
    assert gradcam_layer(small) == "features.denseblock2"
    assert gradcam_layer({"_target_": "EfficientNetBN"}) == "_conv_head"
    with pytest.raises(InputError, match="give --gradcam_layers"):
        gradcam_layer({"_target_": "ViT"})
