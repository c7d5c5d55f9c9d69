"""Trainings in processes of their own: two learn what one learns, and ``kill -9`` changes no weight."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from mlflow import MlflowClient
from monai.bundle import ConfigParser

from doll_monai.networks.adapters import TUNINGS
from doll_monai.utils.errors import InputError
from doll_monai.utils.processes import join_processes
from few_images import kill_when, nothing_random, on_images, run, run_shared, write_images
from narrow import DISTINCT, ROOT, has, read_config

LUNGS = ROOT / "bundles" / "lung_cxr_segmentation"
EPOCHS = 12

each_training = pytest.mark.parametrize("bundle", [b for b in DISTINCT if has(b, "train")], ids=lambda path: path.name)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("images"), size=(32, 32))


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
@each_training
def test_two_processes_learn_what_one_learns(bundle: Path, images: Path, tmp_path: Path) -> None:
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    run(bundle, ["train"], nothing_random(bundle, images, alone, 4))
    values = nothing_random(bundle, images, shared, 2) | {"train::sampler::shuffle": False, "log_every": 1}
    values |= {"tracking": str(bundle / "configs" / "mlflow.json"), "tracking_uri": f"sqlite:///{tmp_path}/mlruns.db"}
    run_shared(bundle, ["train", "multi_gpu_train"], values)
    one, two = (torch.load(folder / "training_state.pt", weights_only=True)["network"] for folder in (alone, shared))
    for name, value in one.items():
        assert torch.allclose(value.float(), two[name].float(), atol=2e-3), name
    losses = [_loss(bundle, nothing_random(bundle, images, alone, 8), weights) for weights in (one, two)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)

    client = MlflowClient(values["tracking_uri"])
    (experiment,) = [e for e in client.search_experiments() if e.name == bundle.name]
    (tracked,) = client.search_runs(experiment.experiment_id)
    assert tracked.info.status == "FINISHED"
    assert len(client.get_metric_history(tracked.info.run_id, "train_loss")) == 4
    assert len(client.search_model_versions(f"name='{bundle.name}'")) == 1


def test_training_with_several_needs_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(InputError, match="Start several processes with torchrun"):
        join_processes(torch.device("cpu"))


@each_training
def test_what_one_process_writes_is_disabled_in_the_others(bundle: Path) -> None:
    train = read_config(bundle, "train")
    first_alone = ("StatsHandler", "BestModelSaver", "AdapterSaver")
    for handler in train["train"]["handlers"] + train["validate"]["handlers"]:
        assert (handler.get("_disabled_") == "@is_not_rank0") == handler["_target_"].endswith(first_alone)


def _epoch(output: Path) -> int:
    """Epochs that are behind the training, as far as its last checkpoint knows."""
    state = output / "training_state.pt"
    return torch.load(state, weights_only=True)["epoch"] if state.is_file() else 0


@pytest.mark.slow
@each_training
def test_a_killed_training_ends_like_an_undisturbed_one(bundle: Path, images: Path, tmp_path: Path, caplog) -> None:
    def values(output: Path) -> dict[str, Any]:
        return on_images(bundle, images, output) | {"batch_size": 4, "max_epochs": EPOCHS}

    caplog.set_level("INFO")
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    run(bundle, ["train"], values(undisturbed))
    kill_when(lambda: _epoch(killed) >= 3, bundle, ["train"], values(killed))
    behind = _epoch(killed)
    assert behind < EPOCHS
    run(bundle, ["train"], values(killed))
    assert f"Continuing after epoch {behind}" in caplog.text
    names = {path.name for path in undisturbed.glob("*.pt")}
    assert {"model.pt", "training_state.pt"} <= names
    assert names == {path.name for path in killed.glob("*.pt")}
    for name in names - {"training_state.pt"}:
        before, after = (torch.load(folder / name, weights_only=True) for folder in (undisturbed, killed))
        before, after = before.get("model", before), after.get("model", after)
        assert before.keys() == after.keys()
        assert all(torch.equal(value, after[key]) for key, value in before.items()), name


def _parser(images: Path, **values: Any) -> ConfigParser:
    """The lung bundle's training with a narrow network and a schedule of ten steps."""
    parser = ConfigParser(read_config(LUNGS, "train"))
    small = on_images(LUNGS, images, images) | {"device": "cpu", "lr_scheduler::total_steps": 10}
    parser.update({**small, **values})
    return parser


def _rates(parser: ConfigParser) -> dict[str, float]:
    """Rate of every trained parameter by its name; none twice."""
    network = parser.get_parsed_content("network")
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    groups = parser.get_parsed_content("optimizer").param_groups
    pairs = [(names[id(parameter)], group["lr"]) for group in groups for parameter in group["params"]]
    assert len(pairs) == len(dict(pairs))
    assert set(dict(pairs)) == {name for name, value in network.named_parameters() if value.requires_grad}
    return dict(pairs)


@pytest.mark.parametrize("tuning", TUNINGS)
def test_what_is_trained_in_the_backbone_takes_its_rate(tuning: str, images: Path) -> None:
    if tuning == "lora":
        pytest.importorskip("peft")
    assert set(_rates(_parser(images, **{"network_def::tuning": tuning})).values()) == {0.001}
    rates = _rates(_parser(images, **{"network_def::tuning": tuning, "backbone_learning_rate": 0.0003}))
    assert rates == {name: 0.0003 if name.startswith("network.backbone.") else 0.001 for name in rates}
    assert set(rates.values()) == ({0.001} if tuning == "head" else {0.001, 0.0003})


def test_the_schedule_leads_each_part_to_its_rate(images: Path) -> None:
    parser = _parser(images, **{"network_def::tuning": "full", "backbone_learning_rate": 0.0003})
    optimizer, scheduler = (parser.get_parsed_content(name) for name in ("optimizer", "lr_scheduler"))
    reached = torch.zeros(2)
    for _ in range(9):
        optimizer.step()
        scheduler.step()
        reached = torch.maximum(reached, torch.tensor(scheduler.get_last_lr()))
    assert reached.tolist() == pytest.approx([0.0003, 0.001], rel=0.1)
