"""Early-learning correction: when it begins, what it replaces, and that it resumes."""

from __future__ import annotations

from math import exp
from pathlib import Path

import pytest
import torch
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedTrainer
from monai.networks.nets import UNet
from torch import nn

from doll_monai.findings import IGNORE
from doll_monai.handlers.early_learning import EarlyLearningCorrection, correct_labels, divergence_from_mean, slope_fall
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


class Record:
    """The loss that the trainer is given; keeps the labels that reach it."""

    def __init__(self) -> None:
        self.labels: list[torch.Tensor] = []

    def __call__(self, logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        self.labels.append(label.clone())
        return 0 * logits.sum()


def _label() -> torch.Tensor:
    """Two channels: left half foreground, an ignored row; image 1 does not have observation 1."""
    label = torch.zeros(2, 2, 16, 16)
    label[..., :8] = 1
    label[:, :, 3] = IGNORE
    label[1, 1] = 0
    return label


def _trainer(network: nn.Module, handlers: list, loss, epochs: int = 1) -> SupervisedTrainer:
    images = [{"image": torch.rand(1, 16, 16), "label": label} for label in _label()]
    return SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=epochs,
        train_data_loader=DataLoader(Dataset(images), batch_size=2),
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=0.0),
        loss_function=loss,
        train_handlers=handlers,
        decollate=False,
    )


def _run(handler: EarlyLearningCorrection, network: nn.Module | None = None, epochs: int = 1) -> Record:
    loss = Record()
    _trainer(network or Fixed(), [handler], loss, epochs).run()
    return loss


CURVES = [
    *(pytest.param([0.6 * (1 - exp(-rate * t)) for t in range(1, 9)], True, id=f"rate-{rate}") for rate in (0.5, 1, 3)),
    pytest.param([0.20, 0.37, 0.46, 0.49, 0.53, 0.52, 0.54, 0.53], True, id="noisy"),
    pytest.param([0.20, 0.37, 0.46], False, id="noisy-early"),
    pytest.param([0.05 * t for t in range(1, 9)], False, id="line"),
    pytest.param([0.005 * t**2 for t in range(1, 9)], False, id="faster"),
    pytest.param([0.1 * t**0.6 for t in range(1, 9)], False, id="slower"),
    pytest.param([0.0] * 8, False, id="nothing"),
]


@pytest.mark.parametrize(("values", "flat"), CURVES)
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


def test_scales_that_agree_have_no_divergence() -> None:
    probability = torch.rand(1, 2, 1, 4, 4)
    assert float(divergence_from_mean(probability.repeat(3, 1, 1, 1, 1))) == pytest.approx(0, abs=1e-7)
    p, q = 0.2, 0.6
    mean = (p + q) / 2
    expected = sum(
        x * torch.log(torch.tensor(x / mean)) + (1 - x) * torch.log(torch.tensor((1 - x) / (1 - mean))) for x in (p, q)
    )
    torch.testing.assert_close(divergence_from_mean(torch.tensor([[p], [q]])), expected / 2)


def test_labels_reach_the_loss_corrected_in_corrected_observations_alone() -> None:
    handler = EarlyLearningCorrection(scales=[1.0])
    network = Fixed()
    network.logits.data[:, :4] = 3.0  # confident foreground above, also where the label says background
    network.logits.data[:, 8:] = 1.0  # undecided below
    handler.corrected = [True, False]
    (label,) = _run(handler, network).labels
    expected = _label()
    expected[:, 0, :4] = 1
    expected[:, 0, 3] = IGNORE
    assert torch.equal(label, expected)


def test_training_iou_is_followed_with_the_labels_as_they_came() -> None:
    handler = EarlyLearningCorrection(scales=[1.0])
    network = Fixed()
    network.logits.data[:] = 3.0
    handler.corrected = [True, True]
    last = _run(handler, network, epochs=2).labels[-1]
    assert bool((last[0, :, :3] == 1).all())
    assert torch.equal(last[1, 1], torch.zeros(16, 16))  # this image does not have the observation
    # everything is predicted: observation 0 has half of what is known, observation 1 half of one image
    assert handler.curves == [pytest.approx([0.5, 120 / (240 + 256)])] * 2


def test_scaled_passes_leave_statistics_and_random_numbers_alone() -> None:
    one, three = Fixed(), Fixed()
    for network, scales in ((one, [1.0]), (three, [0.5, 1.0, 1.5])):
        handler = EarlyLearningCorrection(scales=scales)
        handler.corrected = [True, True]
        torch.manual_seed(3)
        _run(handler, network)
    assert torch.equal(one.norm.running_mean, three.norm.running_mean)
    assert int(three.norm.num_batches_tracked) == 1
    assert three.training


def test_predictions_of_all_scales_are_averaged() -> None:
    """A network that is sure of foreground in large images alone: no scale's word is enough."""

    class BySize(Fixed):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) * 0 + (8.0 if x.shape[-1] > 16 else -1.0)

    labels = {}
    for scales in ([1.5], [1.0], [0.5, 1.5]):
        handler = EarlyLearningCorrection(scales=scales)
        handler.corrected = [True, True]
        (labels[tuple(scales)],) = _run(handler, BySize()).labels
    assert bool((labels[(1.5,)][0, 0, :3] == 1).all())
    assert torch.equal(labels[(1.0,)], _label())
    assert torch.equal(labels[(0.5, 1.5)], _label())


def test_consistency_is_added_to_the_loss_and_differentiated() -> None:
    class Trained(Fixed):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) * x.shape[-1] / 16

    gradients, losses = [], []
    for weight in (0.0, 1.0, 2.0):
        network = Trained()
        network.logits.data += 1.0
        handler = EarlyLearningCorrection(scales=[0.5, 1.0], consistency_weight=weight)
        trainer = _trainer(network, [handler], Record())
        trainer.run()
        losses.append(trainer.state.output["loss"].item())
        gradients.append(network.logits.grad.clone())
    assert losses[0] == 0.0
    assert losses[1] > 0
    assert losses[2] == pytest.approx(2 * losses[1])
    torch.testing.assert_close(gradients[2], 2 * gradients[1])
    assert bool((gradients[1] > 0).all())


def test_meaningless_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="confidence"):
        EarlyLearningCorrection(confidence=0.3)


@pytest.mark.parametrize("last", [False, True], ids=["before", "behind"])
def test_curves_and_corrected_observations_are_resumed(last: bool, tmp_path: Path) -> None:
    """Wherever the handler stands: before the state that saves it, or behind, where an overlay appends it."""
    first, resumed = EarlyLearningCorrection(scales=[1.0]), EarlyLearningCorrection(scales=[1.0])
    first.corrected = [False, True]
    for handler in (first, resumed):
        handlers = [handler, TrainingState(str(tmp_path / "training_state.pt"), {"label_corrector": handler})]
        network = Fixed()
        network.logits.data[:] = 3.0
        _trainer(network, handlers[::-1] if last else handlers, Record(), epochs=2).run()
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
            rows, columns = [
                (slice(row + 6), slice(None)),
                (slice(row + 6, None), slice(None)),
                (slice(None), slice(column + 6)),
                (slice(None), slice(column + 6, None)),
            ][number % 4]
            label[:, rows, columns] = 0
        image = 0.6 * torch.rand(1, 32, 32, generator=generator) + 0.5 * truth
        images.append({"image": image, "label": label, "truth": truth})
    return images


def _iou(network: nn.Module, images: list[dict[str, torch.Tensor]]) -> float:
    network.eval()
    with torch.no_grad():
        predicted = network(torch.stack([image["image"] for image in images])) > 0
    truth = torch.stack([image["truth"] for image in images]) > 0
    return float((predicted & truth).sum() / (predicted | truth).sum())


def _ious_after_training(handlers: list, seed: int) -> tuple[float, float]:
    """IoU with the ground truth on the images that were trained on, and on others."""
    torch.manual_seed(seed)
    images = _half_missing(100, seed)
    network = UNet(2, 1, 1, (16, 32, 64), (2, 2), num_res_units=1, norm="batch")
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=25,
        train_data_loader=DataLoader(Dataset(images), batch_size=8, shuffle=True),
        network=network,
        optimizer=torch.optim.Adam(network.parameters(), lr=5e-3),
        loss_function=PartialLabelLoss(),
        train_handlers=handlers,
    )
    trainer.run()
    return _iou(network, images), _iou(network, _half_missing(40, seed + 1000))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_correction_keeps_a_network_from_learning_wrong_labels_by_heart(seed: int) -> None:
    """A hundred images suffice for the early phase to be one; of 24, the network learnt labels by heart at once."""
    plain, plain_unseen = _ious_after_training([], seed)
    corrected, corrected_unseen = _ious_after_training([EarlyLearningCorrection(scales=[1.0])], seed)
    assert plain < 0.9
    assert corrected > plain + 0.08
    assert corrected_unseen > plain_unseen + 0.02
