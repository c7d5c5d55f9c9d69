"""Two processes train what one process trains: the same loss, one MLflow run, everything written once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from mlflow import MlflowClient
from monai.bundle import ConfigParser

from doll_monai.utils.errors import InputError
from doll_monai.utils.processes import join_processes
from few_images import nothing_random, write_images

BUNDLES = Path(__file__).resolve().parents[3] / "bundles"
TRAINED = sorted(path.parent.parent for path in BUNDLES.glob("*/configs/multi_gpu_train.json"))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("images"))


def _run(bundle: Path, values: dict[str, Any], processes: int, tracking_uri: str) -> str:
    configs = [str(bundle / "configs" / "train.json")]
    launcher = [sys.executable]
    if processes > 1:
        configs.append(str(bundle / "configs" / "multi_gpu_train.json"))
        values = {**values, "train::sampler::shuffle": False}
        launcher += ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    arguments = Path(values["output_dir"]).with_suffix(".json")
    arguments.write_text(json.dumps({"config_file": configs, **values}))
    command = [*launcher, "-m", "monai.bundle", "run", "--args_file", str(arguments)]
    command += [
        "--tracking",
        str(bundle / "configs" / "mlflow.json"),
        "--tracking_uri",
        tracking_uri,
        "--log_every",
        "1",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stderr


def _loss(bundle: Path, values: dict[str, Any], weights: dict[str, torch.Tensor]) -> float:
    """The loss of all images: each process logs only that of its own half of a batch."""
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "train.json"))
    parser.update(values)
    network = parser.get_parsed_content("network")
    network.load_state_dict(weights)
    (batch,) = parser.get_parsed_content("train::dataloader")
    with torch.no_grad():
        return float(parser.get_parsed_content("loss")(network.eval()(batch["image"]), batch["label"]))


@pytest.mark.slow
@pytest.mark.parametrize("bundle", TRAINED, ids=lambda path: path.name)
def test_two_processes_learn_what_one_learns(bundle: Path, images: Path, tmp_path: Path) -> None:
    logged, losses, weights = [], [], []
    for processes in (1, 2):
        output = tmp_path / f"processes{processes}"
        uri = f"sqlite:///{tmp_path}/{processes}.db"
        said = _run(bundle, nothing_random(bundle, images, output, 4 // processes), processes, uri)
        assert said.count("train: ") == 2 * said.count("(100 %)") == 2
        client = MlflowClient(uri)
        (experiment,) = [e for e in client.search_experiments() if e.name == bundle.name]
        (run,) = client.search_runs(experiment.experiment_id)
        assert run.info.status == "FINISHED"
        logged.append([metric.value for metric in client.get_metric_history(run.info.run_id, "train_loss")])
        assert len(client.search_model_versions(f"name='{bundle.name}'")) == 1
        weights.append(torch.load(output / "training_state.pt", weights_only=True)["network"])
        losses.append(_loss(bundle, nothing_random(bundle, images, output, 8), weights[-1]))
    assert len(logged[0]) == len(logged[1]) == 4
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    for name, values in weights[0].items():
        assert torch.allclose(values.float(), weights[1][name].float(), atol=2e-3), name


def test_training_with_several_needs_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(InputError, match="Start several processes with torchrun"):
        join_processes(torch.device("cpu"))


@pytest.mark.parametrize("bundle", TRAINED, ids=lambda path: path.name)
def test_no_handler_is_named_by_its_place(bundle: Path) -> None:
    """A handler that tracking or a user adds must not change which ones a process has."""
    text = (bundle / "configs" / "multi_gpu_train.json").read_text()
    assert "handlers" not in text.replace("doll_monai.handlers", "")
    train = json.loads((bundle / "configs" / "train.json").read_text())
    first_alone = ("StatsHandler", "BestModelSaver", "AdapterSaver")
    for handler in train["train"]["handlers"] + train["validate"]["handlers"]:
        assert (handler.get("_disabled_") == "@is_not_rank0") == handler["_target_"].endswith(first_alone)


def test_several_gpus_mean_the_same_in_every_bundle() -> None:
    assert len({(bundle / "configs" / "multi_gpu_train.json").read_text() for bundle in TRAINED}) == 1


def test_every_bundle_that_trains_does_so_on_several_gpus() -> None:
    assert sorted(path.parent.parent for path in BUNDLES.glob("*/configs/train.json")) == TRAINED
