"""A killed training continues bit for bit, and never replaces a better model by a worse one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Engine, Events
from ignite.metrics import MetricsLambda
from monai.data import CacheDataset, DataLoader, Dataset
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import LrScheduleHandler, ValidationHandler
from monai.transforms import Compose, RandGaussianNoised
from torch import nn

from doll_monai.handlers.training_state import AdapterSaver, BestModelSaver, TrainingState
from doll_monai.networks.adapters import AdaptedNetwork
from doll_monai.networks.weights import file_hash
from doll_monai.utils.errors import InputError

EPOCHS = 4


@pytest.fixture(scope="module")
def data() -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [{"image": torch.randn(1, 8, 8, generator=generator), "label": torch.tensor([i % 2.0])} for i in range(12)]


def _train(
    folder: Path,
    data,
    kill: int | None = None,
    scores: Sequence[float] = (0.1, 0.2, 0.3, 0.4),
    workers: int = 0,
    network: nn.Module | None = None,
    seed: int = 0,
    epochs: int = EPOCHS,
) -> nn.Module:
    """A training with everything that is random: order, augmentation, dropout; killed in the middle of an epoch.

    Each epoch has its prescribed score.
    """
    torch.manual_seed(7)
    network = network or nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3), nn.Flatten(), nn.Linear(144, 1)
    )
    torch.manual_seed(torch.seed())
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01)
    images = CacheDataset(data, Compose([RandGaussianNoised("image", prob=0.8)]), progress=False)
    loader = DataLoader(images, batch_size=3, shuffle=True, num_workers=workers)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.02, total_steps=epochs * len(loader) + 1)
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset(data[:4]), batch_size=4),
        network=network,
        key_val_metric={"score": MetricsLambda(lambda: scores[trainer.state.epoch - 1])},
        val_handlers=[BestModelSaver(str(folder / "model.pt"), network)],
    )
    objects = {"network": network, "optimizer": optimizer, "scheduler": scheduler}
    final = str(folder / "final.pt")
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=epochs,
        train_data_loader=loader,
        network=network,
        optimizer=optimizer,
        loss_function=nn.BCEWithLogitsLoss(),
        train_handlers=[
            LrScheduleHandler(scheduler, print_lr=False, epoch_level=False),
            ValidationHandler(1, evaluator),
            TrainingState(str(folder / "training_state.pt"), objects, seed, evaluator, final),
        ],
    )

    @trainer.on(Events.ITERATION_COMPLETED)
    def interrupt(engine: Engine) -> None:
        if engine.state.epoch == kill and engine.state.iteration % engine.state.epoch_length == 2:
            raise KeyboardInterrupt

    trainer.run()
    return network


def _same(weights: Path | nn.Module, network: nn.Module) -> bool:
    there = torch.load(weights, weights_only=True) if isinstance(weights, Path) else weights.state_dict()
    return all(torch.equal(value, there[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(("kill", "workers"), [(1, 0), (4, 0), (2, 2)])
def test_a_resumed_training_gives_the_same_bits(kill: int, workers: int, data, tmp_path: Path) -> None:
    undisturbed = _train(tmp_path / "whole", data, workers=workers)
    with pytest.raises(KeyboardInterrupt):
        _train(tmp_path / "killed", data, kill=kill, workers=workers)
    assert not (tmp_path / "killed" / "final.pt").exists()
    torch.rand(99)
    resumed = _train(tmp_path / "killed", data, workers=workers)
    assert _same(undisturbed, resumed)
    assert _same(tmp_path / "killed" / "final.pt", undisturbed)


def test_another_seed_trains_otherwise(data, tmp_path: Path) -> None:
    assert not _same(_train(tmp_path / "a", data), _train(tmp_path / "b", data, seed=100))


def test_a_finished_training_is_not_trained_on(data, tmp_path: Path) -> None:
    first = _train(tmp_path, data)
    model = file_hash(tmp_path / "model.pt")
    assert _same(first, _train(tmp_path, data))
    assert file_hash(tmp_path / "model.pt") == model


@pytest.mark.parametrize(("last", "best"), [(0.8, 2), (0.95, EPOCHS)])
def test_after_resuming_only_a_better_epoch_replaces_the_best_model(last: float, best: int, data, tmp_path) -> None:
    scores = [0.5, 0.9, 0.3, last]
    with pytest.raises(KeyboardInterrupt):
        _train(tmp_path, data, kill=3, scores=scores)
    second = file_hash(tmp_path / "model.pt")
    network = _train(tmp_path, data, scores=scores)
    if best == 2:
        assert file_hash(tmp_path / "model.pt") == second
    else:
        assert _same(tmp_path / "model.pt", network)


def test_a_metric_that_is_never_a_number_leaves_the_last_model(data, tmp_path: Path) -> None:
    """A small validation set may have no observation with both classes; the training was not in vain."""
    network = _train(tmp_path, data, scores=[float("nan")] * EPOCHS)
    assert _same(tmp_path / "model.pt", network)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"epochs": EPOCHS + 1}, "a training with another max_epochs; give"),  # the learning rate depends on it
        ({"seed": 1}, "a training with another seed; give"),
        ({"network": nn.Sequential(nn.Flatten(), nn.Linear(64, 1))}, "another network or optimizer; give"),
    ],
)
def test_the_state_of_another_training_is_refused(change: dict[str, Any], words: str, data, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        _train(tmp_path, data, kill=2)
    state = file_hash(tmp_path / "training_state.pt")
    with pytest.raises(InputError, match=rf"training_state\.pt belongs to {words}"):
        _train(tmp_path, data, **change)
    assert file_hash(tmp_path / "training_state.pt") == state


@pytest.mark.parametrize("tuning", ["head", "full"])
def test_adapter_file_holds_the_trained_part_and_its_origin(tuning: str, tmp_path: Path, caplog) -> None:
    """A network that was trained as a whole writes none."""
    caplog.set_level("INFO")
    torch.save({"weight": torch.ones(1)}, tmp_path / "pretrained.pt")
    network = nn.Module()
    network.body, network.head = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 1, 1)
    path, engine = tmp_path / "adapter.pt", Engine(lambda _engine, _batch: None)
    AdapterSaver(str(path), AdaptedNetwork(network, tuning=tuning), str(tmp_path / "pretrained.pt")).attach(engine)
    engine.run([0])
    assert path.exists() == (tuning == "head")
    if tuning == "head":
        saved = torch.load(path, weights_only=True)
        assert set(saved["model"]) == {"network.head.weight", "network.head.bias"}
        assert saved["pretrained_sha256"] == file_hash(tmp_path / "pretrained.pt")
        assert saved["tuning"] == "head"
        assert "Tuning 'head' trains 5 of 45 parameters (11.11%)." in caplog.text
