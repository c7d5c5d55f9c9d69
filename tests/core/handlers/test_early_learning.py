"""Early-learning correction: when it begins, what it replaces, and that it resumes."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedTrainer
from monai.networks.nets import UNet
from monai.networks.utils import eval_mode
from torch import nn

from doll_monai.findings import IGNORE
from doll_monai.handlers.early_learning import EarlyLearningCorrection, correct_labels, slope_fall
from doll_monai.handlers.training_state import TrainingState
from doll_monai.losses.partial import PartialLabelLoss


class Fixed(nn.Module):
    """Says the same of every image: logits of two channels, each a map of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(2, 16, 16))
        self.norm = nn.BatchNorm2d(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        size = self.norm(x).shape[-2:]
        logits = nn.functional.interpolate(self.logits[None], size=size, mode="bilinear", align_corners=False)
        return logits.expand(len(x), -1, -1, -1)


def _label() -> torch.Tensor:
    """Two channels: left half foreground, an ignored row; image 1 does not have observation 1."""
    label = torch.zeros(2, 2, 16, 16)
    label[..., :8] = 1
    label[:, :, 3] = IGNORE
    label[1, 1] = 0
    return label


def _run(*handlers: Any, network: nn.Module, epochs: int = 1) -> list[torch.Tensor]:
    """Train on two images; the labels that reached the loss, a batch an epoch."""
    images = [{"image": torch.rand(1, 16, 16), "label": label} for label in _label()]
    labels: list[torch.Tensor] = []

    def loss(logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        labels.append(label.clone())
        return 0 * logits.sum()

    SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=epochs,
        train_data_loader=DataLoader(Dataset(images), batch_size=2),
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=0.0),
        loss_function=loss,
        train_handlers=handlers,
        decollate=False,
    ).run()
    return labels


def _corrector(corrected: list[bool], scales: Sequence[float] = (1.0,)) -> EarlyLearningCorrection:
    handler = EarlyLearningCorrection(scales=scales)
    handler.corrected = corrected
    return handler


@pytest.mark.parametrize(
    ("values", "flat"),
    [
        *(([0.6 * (1 - exp(-rate * t)) for t in range(1, 9)], True) for rate in (0.5, 1, 3)),
        ([0.20, 0.37, 0.46, 0.49, 0.53, 0.52, 0.54, 0.53], True),
        ([0.20, 0.37, 0.46], False),
        ([0.05 * t for t in range(1, 9)], False),
        ([0.005 * t**2 for t in range(1, 9)], False),
        ([0.1 * t**0.6 for t in range(1, 9)], False),
        ([0.0] * 8, False),
    ],
)
def test_a_curve_is_noticed_when_it_flattens(values: list[float], flat: bool) -> None:
    assert (slope_fall(values) > 0.9) == flat


def test_fall_of_the_slope_is_that_of_the_curve() -> None:
    assert slope_fall([0.6 * (1 - exp(-0.5 * t)) for t in range(1, 9)]) == pytest.approx(1 - exp(-3.5), abs=1e-3)


def test_confident_predictions_replace_labels_of_the_given_pairs_alone() -> None:
    """And never so that no foreground is left, as in image 1."""
    label = torch.tensor([1, 0, 1, 0, IGNORE, 1]).view(1, 1, 1, 6).repeat(2, 2, 1, 1)
    probability = torch.tensor([0.1, 0.9, 0.3, 0.7, 0.9, 0.95]).view(1, 1, 1, 6).repeat(2, 2, 1, 1)
    probability[1] *= 0.1
    pairs = torch.tensor([[True, False], [True, False]])
    result = correct_labels(label, probability, pairs, confidence=0.8)
    assert result[0, 0].flatten().tolist() == [0, 1, 1, 0, IGNORE, 1]
    assert torch.equal(result[0, 1], label[0, 1])
    assert torch.equal(result[1], label[1])


def test_labels_reach_the_loss_corrected_in_corrected_observations_alone() -> None:
    network = Fixed()
    network.logits.data[:, :4] = 3.0  # confident foreground above, also where the label says background
    network.logits.data[:, 8:] = 1.0  # undecided below
    (label,) = _run(_corrector([True, False]), network=network)
    expected = _label()
    expected[:, 0, :4] = 1
    expected[:, 0, 3] = IGNORE
    assert torch.equal(label, expected)


def test_training_iou_is_followed_with_the_labels_as_they_came() -> None:
    handler, network = _corrector([True, True]), Fixed()
    network.logits.data[:] = 3.0
    last = _run(handler, network=network, epochs=2)[-1]
    assert bool((last[0, :, :3] == 1).all())
    assert torch.equal(last[1, 1], torch.zeros(16, 16))  # this image does not have the observation
    # everything is predicted: observation 0 has half of what is known, observation 1 half of one image
    assert handler.curves == [pytest.approx([0.5, 120 / (240 + 256)])] * 2


def test_scaled_passes_leave_statistics_and_random_numbers_alone() -> None:
    one, three = Fixed(), Fixed()
    for network, scales in ((one, [1.0]), (three, [0.5, 1.0, 1.5])):
        torch.manual_seed(3)
        _run(_corrector([True, True], scales), network=network)
    assert torch.equal(one.norm.running_mean, three.norm.running_mean)
    assert int(three.norm.num_batches_tracked) == 1
    assert three.training


@pytest.mark.parametrize(("scales", "corrected"), [([1.5], True), ([1.0], False), ([0.5, 1.5], False)])
def test_predictions_of_all_scales_are_averaged(scales: list[float], corrected: bool) -> None:
    """A network that is sure of foreground in large images alone: no scale's word is enough."""

    class BySize(Fixed):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) * 0 + (8.0 if x.shape[-1] > 16 else -1.0)

    (label,) = _run(_corrector([True, True], scales), network=BySize())
    assert bool((label[0, 0, :3] == 1).all()) == corrected
    assert torch.equal(label, _label()) != corrected


def test_meaningless_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="confidence"):
        EarlyLearningCorrection(confidence=0.3)


@pytest.mark.parametrize("last", [False, True], ids=["before", "behind"])
def test_curves_and_corrected_observations_are_resumed(last: bool, tmp_path: Path) -> None:
    """Wherever the handler stands: before the state that saves it, or behind, where an overlay appends it."""
    first, resumed = _corrector([False, True]), _corrector([])
    for handler in (first, resumed):
        handlers = [handler, TrainingState(str(tmp_path / "training_state.pt"), {"label_corrector": handler})]
        network = Fixed()
        network.logits.data[:] = 3.0
        _run(*(handlers[::-1] if last else handlers), network=network, epochs=2)
    assert resumed.curves == first.curves
    assert len(resumed.curves) == 2
    assert resumed.corrected == [False, True]


def _half_missing(count: int, seed: int) -> list[dict[str, torch.Tensor]]:
    """Squares in noise; of three images in ten the label lacks one half, left, right, top or bottom."""
    generator = torch.Generator().manual_seed(seed)
    images = []
    for number in range(count):
        truth = torch.zeros(1, 32, 32)
        row, column = (int(value) for value in torch.randint(2, 18, (2,), generator=generator))
        truth[:, row : row + 12, column : column + 12] = 1
        label = truth.clone()
        if number % 10 < 3:
            halves = [label[:, : row + 6], label[:, row + 6 :], label[..., : column + 6], label[..., column + 6 :]]
            halves[number % 4].zero_()
        image = 0.6 * torch.rand(1, 32, 32, generator=generator) + 0.5 * truth
        images.append({"image": image, "label": label, "truth": truth})
    return images


def _iou_after_training(handlers: list, seed: int) -> list[float]:
    """IoU with the ground truth on the images that were trained on, and on others."""
    torch.manual_seed(seed)
    images = _half_missing(100, seed)
    network = UNet(2, 1, 1, (16, 32, 64), (2, 2), num_res_units=1, norm="batch")
    SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=25,
        train_data_loader=DataLoader(Dataset(images), batch_size=8, shuffle=True),
        network=network,
        optimizer=torch.optim.Adam(network.parameters(), lr=5e-3),
        loss_function=PartialLabelLoss(),
        train_handlers=handlers,
    ).run()
    ious = []
    for part in (images, _half_missing(40, seed + 1000)):
        image, truth = (torch.stack([item[key] for item in part]) for key in ("image", "truth"))
        with eval_mode(network):
            predicted = network(image) > 0
        ious.append(float((predicted & (truth > 0)).sum() / (predicted | (truth > 0)).sum()))
    return ious


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_correction_keeps_a_network_from_learning_wrong_labels_by_heart(seed: int) -> None:
    """A hundred images suffice for the early phase to be one; of 24, the network learnt labels by heart at once."""
    plain, plain_unseen = _iou_after_training([], seed)
    corrected, corrected_unseen = _iou_after_training([EarlyLearningCorrection(scales=[1.0])], seed)
    assert plain < 0.9
    assert corrected > plain + 0.08
    assert corrected_unseen > plain_unseen + 0.02
