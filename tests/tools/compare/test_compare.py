"""The whole program on a tiny phantom, interrupted and continued, and careless use of it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from mlflow import MlflowClient
from monai.bundle import ConfigParser
from monai.data.utils import set_rnd
from monai.utils import set_determinism

from doll_monai.data.datalist import SECTIONS
from doll_monai.networks.weights import save_weights
from doll_monai.utils.errors import InputError
from doll_tools.compare.bundle import TRAINING, TaskBundle
from doll_tools.compare.cells import Cell
from doll_tools.compare.command import compare
from doll_tools.compare.initializations import Initialization
from doll_tools.compare.results import COLUMNS
from doll_tools.phantom.dataset import write_dataset
from doll_tools.release.committee import committee_definition
from narrow import ROOT

BUNDLE = "lung_cxr_segmentation"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Phantom images here and elsewhere, a narrow network's definition and a checkpoint of it that learnt nothing."""
    folder = tmp_path_factory.mktemp("comparison")
    write_dataset(folder / "images", count=16, seed=0, size=64)
    write_dataset(folder / "others", count=10, seed=1, size=64)
    (backbone,) = committee_definition(["resnet10_narrow"])["members"]
    pspnet = json.loads((ROOT / "bundles" / BUNDLE / "configs" / "networks" / "pspnet.json").read_text())
    narrow = {"network_def::network::backbone": backbone, "network_def::network::decoder_channels": 8}
    narrow = {**pspnet, **narrow}
    (folder / "network.json").write_text(json.dumps(narrow))
    network = TaskBundle(BUNDLE, folder / "network.json").initialized(Initialization(), Cell("scratch", "full", 1, 7))
    save_weights(network.state_dict(), folder / "pretrained.pt")
    save_weights({"backbone.conv1.weight": torch.zeros(3, 1, 7, 7)}, folder / "other.pt")
    return folder


def _values(data: Path, output: Path, **changes: Any) -> dict[str, Any]:
    return {
        "task_data": data / "images",
        "output": output,
        "classes": "lungs=right_lung+left_lung,heart",
        "shots": 2,
        "seeds": 1,
        "initializations": "scratch,doll",
        "tunings": "full",
        "pretrained": data / "pretrained.pt",
        "network": data / "network.json",
        "image_size": 32,
        "iterations": 4,
        "batch_size": 3,
        **changes,
    }


def _killed_when(there: Callable[[], bool], data: Path, output: Path, **changes: Any) -> None:
    """Start a comparison and kill it with all its stages as soon as something is there."""
    values = [f"--{name}={value}" for name, value in _values(data, output, **changes).items()]
    command = [sys.executable, "-m", "doll_tools", "compare", *values]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True) as run:
        while not there() and run.poll() is None:
            time.sleep(0.002)
        os.killpg(run.pid, signal.SIGKILL)
    assert there()
    assert not (output / "comparison.md").exists()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_comparison_killed_while_it_trains_has_the_figures_of_an_undisturbed_one(data: Path, tmp_path: Path) -> None:
    changes = {"initializations": "doll", "iterations": 60, "val_interval": 2}
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    _killed_when(lambda: any(killed.rglob("training_state.pt")), data, killed, **changes)
    for output in (killed, undisturbed):
        compare(**_values(data, output, **changes))
    for name in ("images.csv", "curves.csv"):
        assert (killed / name).read_bytes() == (undisturbed / name).read_bytes()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_killed_comparison_goes_on_and_another_tuning_joins_it(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    others = {"test_data": data / "others", "test_classes": "lungs=right_lung+left_lung"}
    _killed_when((output / "cells" / "doll_full_shots2_seed0").exists, data, output, **others)
    assert list(pd.read_csv(output / "results.csv")["initialization"].unique()) == ["scratch"]
    first = output / "cells" / "scratch_full_shots2_seed0" / "cell.json"
    trained = first.read_text()
    compare(**_values(data, output, **others))
    assert "scratch_full_shots2_seed0: done before" in capsys.readouterr().out
    assert first.read_text() == trained
    assert not list(output.glob("cells/*/*.pt"))
    compare(**_values(data, output, **others, initializations="doll", tunings="head"))

    table = pd.read_csv(output / "results.csv")
    assert list(table.columns) == COLUMNS
    assert set(table["initialization"] + "/" + table["tuning"]) == {"scratch/full", "doll/full", "doll/head"}
    scored = {f"{split}/{name}" for split in ("valid", "test") for name in ("lungs", "heart")}
    assert set(table["split"] + "/" + table["class"]) == scored | {"elsewhere/lungs"}
    assert table[["dice", "iou", "hd95"]].stack().between(0, 1).all()
    by_tuning = table.groupby("tuning")[["trainable_parameters", "total_parameters"]].first()
    assert by_tuning.loc["head", "trainable_parameters"] == 2 * (8 + 1)
    assert by_tuning.loc["full", "trainable_parameters"] == by_tuning.loc["full", "total_parameters"]
    curves = pd.read_csv(output / "curves.csv").groupby(["initialization", "tuning"])["iteration"]
    assert curves.apply(list).tolist() == [[1, 2, 3, 4]] * 3
    images = pd.read_csv(output / "images.csv")
    lists = json.loads((output / "datalists" / "shots2_seed0.json").read_text())
    assert set(images.loc[images["split"] == "test", "image"]) == {record["image"] for record in lists["test"]}
    patients = {section: {record["patient"] for record in lists[section]} for section in SECTIONS}
    assert not patients["test"] & (patients["training"] | patients["validation"])
    page = (output / "comparison.md").read_text()
    assert "doll/full - scratch/full" in page
    assert "nan" not in page
    for name in ("curves.svg", "curves.png", "differences.csv", "cells/doll_head_shots2_seed0/scores/overlays.png"):
        assert (output / name).stat().st_size > 100

    client = MlflowClient(f"sqlite:///{output / 'mlruns' / 'mlruns.db'}")
    experiment = client.get_experiment_by_name("lung_cxr_segmentation")
    assert experiment is not None
    runs = client.search_runs(experiment.experiment_id)
    assert len(runs) == 3
    (parent,) = {run.data.tags["mlflow.parentRunId"] for run in runs}
    said = client.get_run(parent).data.tags["mlflow.note.content"]
    assert f"Open first: `comparison.md`** below Artifacts, when all is done; the same file is `{output}" in said
    assert "- cells: 1, each a run below this one, beside those of earlier commands" in said
    assert "comparison.md" in {file.path for file in client.list_artifacts(parent)}
    assert {run.info.run_name.partition("_out_")[0] for run in runs} == {path.name for path in output.glob("cells/*")}
    row = table.query("initialization == 'doll' and tuning == 'head' and split == 'test' and `class` == 'heart'")
    (head,) = (run for run in runs if run.data.params.get("cell.tuning") == "head")
    assert head.data.metrics["test.heart.iou"] == pytest.approx(row["iou"].item(), abs=1e-5)

    with pytest.raises(InputError, match="were made with another iterations, test_data; give a new output_dir"):
        compare(**_values(data, output, iterations=3))
    values = tmp_path / "values.json"
    values.write_text(json.dumps({"*/head": {"learning_rate": 0.01}}))
    changed = {**others, "initializations": "doll", "tunings": "head", "cell_values": values}
    with pytest.raises(InputError, match=r"The cells doll/head in .* were made with another learning_rate"):
        compare(**_values(data, output, **changed))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"initializations": "scratch,dolls"}, "There is no initialization 'dolls'; there are: scratch, classifier,"),
        ({"initializations": "classifier"}, "The initialization 'classifier' needs a checkpoint; give --classifier."),
        ({"initializations": "rival=missing.pt"}, "missing.pt does not exist"),
        (
            {"initializations": "doll=x.pt"},
            "The initialization 'doll=x.pt' cannot be read; write NAME=FILE with a new name.",
        ),
        ({"tunings": "full,adaptor"}, "tuning must be one of"),
        ({"tunings": "full,full"}, "tunings must be different ones"),
        ({"shots": (1, "few")}, "shots must be a whole number of at least 1, not few."),
        ({"iterations": 30}, "iterations must be a multiple of 20, or fewer, not 30."),
        ({"task_data": "missing"}, "index.csv does not exist."),
        ({"classes": "lungs=lung"}, "has no column lung"),
        ({"bundle": "liver"}, "There is no bundle 'liver' that trains; there are: chexpert_cxr_classification,"),
        ({"network": "images/phantom.json"}, "has no network_def"),
        ({"test_classes": "infection", "test_data": "others"}, "The class infection of test_classes is none of: lungs"),
        ({"test_data": "images"}, "has the same content as"),
        ({"learning_rat": 0.1}, "The bundle lung_cxr_segmentation has no value 'learning_rat'"),
        ({"max_epochs": 3}, "The value 'max_epochs' is set for each cell; leave it out."),
        ({"cell_values": "cells.json"}, "cells.json does not exist"),
        ({"cell_values": "network.json"}, "'network_def' cannot be read; write objects of values"),
        ({"pretrained": "network.json"}, "is not a checkpoint that can be read safely"),
        ({"pretrained": "other.pt"}, "belongs to another network than network_def"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_careless_use_is_explained_before_anything_is_written(
    data: Path, tmp_path: Path, changes: dict, sentence: str
) -> None:
    paths = ("task_data", "network", "test_data", "pretrained", "cell_values")
    changes = {name: data / value if name in paths else value for name, value in changes.items()}
    with pytest.raises(InputError, match=re.escape(sentence)):
        compare(**_values(data, tmp_path / "out", **changes))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("shots", [1, 4])
def test_every_network_gets_the_same_images_and_augmentation(data: Path, shots: int) -> None:
    def epoch(dropout: int) -> list[torch.Tensor]:
        """The images of an epoch's batches beside a network that draws random numbers of its own."""
        parser = ConfigParser(ConfigParser.load_config_files([str(path) for path in setup.configs(TRAINING)]))
        records = [{"image": image, "label": str(image)} for image in sorted((data / "images").rglob("view1*.jpg"))]
        values = {"image_size": [32, 32], "batch_size": 3, "iterations_per_epoch": 5}
        parser.update({"train::dataset::data": records[:shots], **values})
        loader = parser.get_parsed_content("train::dataloader")
        torch.rand(dropout)
        set_determinism(1)
        set_rnd(loader.dataset, seed=1)
        return [(batch["image"].as_tensor(), torch.rand(dropout))[0] for batch in loader]

    setup = TaskBundle(BUNDLE, data / "network.json")
    first, second = epoch(dropout=3), epoch(dropout=1000)
    assert [len(images) for images in first] == [3] * 5
    assert all(torch.equal(*images) for images in zip(first, second, strict=True))
    assert not torch.equal(first[0], first[1])
