"""A killed training continues bit for bit, and never replaces a better model by a worse one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from ignite.engine import Engine, Events
from ignite.metrics import Metric
from monai.data import CacheDataset, DataLoader
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import LrScheduleHandler, ValidationHandler
from monai.transforms import Compose, RandGaussianNoised
from torch import nn

from doll_monai.handlers.training_state import AdapterSaver, BestModelSaver, TrainingState
from doll_monai.networks.adapters import AdaptedNetwork
from doll_monai.networks.weights import file_hash
from doll_monai.utils.errors import InputError

EPOCHS = 4


class Scores(Metric):
    """A metric that gives each epoch of the whole training its prescribed value."""

    def __init__(self, scores: list[float], trainer: list[Engine]) -> None:
        self.scores, self.trainer = scores, trainer
        super().__init__(output_transform=lambda output: output)

    def reset(self) -> None:
        pass

    def update(self, output: object) -> None:
        pass

    def compute(self) -> float:
        return self.scores[self.trainer[0].state.epoch - 1]


class Kill:
    """Interrupts the trainer in the middle of an epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        if engine.state.epoch == self.epoch and engine.state.iteration % engine.state.epoch_length == 2:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def data() -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [{"image": torch.randn(1, 8, 8, generator=generator), "label": torch.tensor([i % 2.0])} for i in range(12)]


def _train(
    folder: Path,
    data,
    kill: int | None = None,
    scores: list[float] | None = None,
    workers: int = 0,
    network: nn.Module | None = None,
    seed: int = 0,
    epochs: int = EPOCHS,
) -> nn.Module:
    """A training with everything that is random: order, augmentation, dropout."""
    torch.manual_seed(7)
    network = network or nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3), nn.Flatten(), nn.Linear(144, 1)
    )
    torch.manual_seed(torch.seed())
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01)
    loader = DataLoader(
        CacheDataset(data, Compose([RandGaussianNoised("image", prob=0.8)]), progress=False),
        batch_size=3,
        shuffle=True,
        num_workers=workers,
    )
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.02, total_steps=epochs * len(loader) + 1)
    trainers: list[Engine] = []
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(CacheDataset(data[:4], Compose([]), progress=False), batch_size=4),
        network=network,
        key_val_metric={"score": Scores(scores or [0.1, 0.2, 0.3, 0.4], trainers)},
        val_handlers=[BestModelSaver(str(folder / "model.pt"), network)],
    )
    handlers = [
        LrScheduleHandler(scheduler, print_lr=False, epoch_level=False),
        ValidationHandler(1, evaluator),
        TrainingState(
            str(folder / "training_state.pt"),
            {"network": network, "optimizer": optimizer, "scheduler": scheduler},
            seed=seed,
            evaluator=evaluator,
            final_path=str(folder / "final.pt"),
        ),
    ]
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=epochs,
        train_data_loader=loader,
        network=network,
        optimizer=optimizer,
        loss_function=nn.BCEWithLogitsLoss(),
        train_handlers=handlers if kill is None else [*handlers, Kill(kill)],
    )
    trainers.append(trainer)
    trainer.run()
    return network


def _same(first: nn.Module, second: nn.Module) -> bool:
    other = second.state_dict()
    return all(torch.equal(value, other[name]) for name, value in first.state_dict().items())


def _holds(path: Path, network: nn.Module) -> bool:
    weights = torch.load(path, weights_only=True)
    return all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(("kill", "workers"), [(1, 0), (2, 0), (4, 0), (2, 2)])
def test_a_resumed_training_gives_the_same_bits(kill: int, workers: int, data, tmp_path: Path) -> None:
    undisturbed = _train(tmp_path / "whole", data, workers=workers)
    with pytest.raises(KeyboardInterrupt):
        _train(tmp_path / "killed", data, kill=kill, workers=workers)
    assert not (tmp_path / "killed" / "final.pt").exists()
    torch.rand(99)
    resumed = _train(tmp_path / "killed", data, workers=workers)
    assert _same(undisturbed, resumed)
    assert _holds(tmp_path / "killed" / "final.pt", undisturbed)


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
        assert _holds(tmp_path / "model.pt", network)


def test_a_metric_that_is_never_a_number_leaves_the_last_model(data, tmp_path: Path) -> None:
    """A small validation set may have no observation with both classes; the training was not in vain."""
    network = _train(tmp_path, data, scores=[float("nan")] * EPOCHS)
    assert _holds(tmp_path / "model.pt", network)


def test_a_state_of_another_network_is_refused_in_one_sentence(data, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        _train(tmp_path, data, kill=2)
    other = nn.Sequential(nn.Flatten(), nn.Linear(64, 1))
    with pytest.raises(InputError, match=r"training_state\.pt"):
        _train(tmp_path, data, network=other)


@pytest.mark.parametrize(("change", "name"), [({"epochs": EPOCHS + 1}, "max_epochs"), ({"seed": 1}, "seed")])
def test_a_training_of_other_settings_is_refused(change: dict[str, int], name: str, data, tmp_path: Path) -> None:
    """More epochs too: the learning rate of every step depends on their number."""
    with pytest.raises(KeyboardInterrupt):
        _train(tmp_path, data, kill=2)
    state = file_hash(tmp_path / "training_state.pt")
    with pytest.raises(InputError, match=rf"training_state\.pt belongs to a training with another {name}; give"):
        _train(tmp_path, data, **change)
    assert file_hash(tmp_path / "training_state.pt") == state


def test_a_folder_in_which_another_training_is_at_work_is_refused(data, tmp_path: Path) -> None:
    script = "import sys; from doll_monai.utils.folder_lock import lock_folder; "
    script += "lock = lock_folder(sys.argv[1], 'training'); print('locked', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(InputError, match="Another training is at work in"):
            _train(tmp_path, data)
        other.communicate()
    _train(tmp_path, data)


def _save_adapter(tuning: str, folder: Path) -> AdaptedNetwork:
    torch.save({"weight": torch.ones(1)}, folder / "pretrained.pt")
    network = nn.Module()
    network.body, network.head = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 1, 1)
    adapted = AdaptedNetwork(network, tuning=tuning)
    engine = Engine(lambda _engine, _batch: None)
    AdapterSaver(str(folder / "adapter.pt"), adapted, str(folder / "pretrained.pt")).attach(engine)
    engine.run([0])
    return adapted


def test_adapter_file_holds_the_trained_part_and_its_origin(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    _save_adapter("head", tmp_path)
    saved = torch.load(tmp_path / "adapter.pt", weights_only=True)
    assert set(saved["model"]) == {"network.head.weight", "network.head.bias"}
    assert saved["pretrained_sha256"] == file_hash(tmp_path / "pretrained.pt")
    assert saved["tuning"] == "head"
    assert "Tuning 'head' trains 5 of 45 parameters (11.11%)." in caplog.text


def test_a_network_trained_as_a_whole_writes_no_adapter(tmp_path: Path) -> None:
    _save_adapter("full", tmp_path)
    assert not (tmp_path / "adapter.pt").exists()
