"""Losses for partly unknown labels: what is ignored contributes nothing, not even the last bit."""

from __future__ import annotations

from math import exp, log

import pytest
import torch
from monai.data import MetaTensor

from doll_monai.findings import IGNORE
from doll_monai.losses.partial import ObservationLoss, PartialLabelLoss


def _with_gradient(loss, logits: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    logits = logits.clone().requires_grad_()
    value = loss(logits, target)
    value.backward()
    assert logits.grad is not None
    return value.detach(), logits.grad


def _bce(logit: float, target: float) -> float:
    """Binary cross-entropy, written out."""
    p = 1 / (1 + exp(-logit))
    return -(target * log(p) + (1 - target) * log(1 - p))


@pytest.fixture
def observations() -> tuple[torch.Tensor, torch.Tensor]:
    target = torch.rand(5, 14)
    target[torch.rand(5, 14) < 0.4] = -1.0
    return torch.randn(5, 14), target


@pytest.fixture
def pixels() -> tuple[torch.Tensor, torch.Tensor]:
    label = (torch.rand(2, 4, 6, 7) < 0.3).to(torch.uint8)
    label[torch.rand(label.shape) < 0.3] = IGNORE
    label[:, 3] = IGNORE
    return torch.randn(2, 4, 6, 7), label


@pytest.mark.parametrize("pos_weight", [1.0, 3.0, [float(number) for number in range(1, 15)]])
def test_unknown_targets_contribute_nothing(observations, pos_weight) -> None:
    logits, target = observations
    loss = ObservationLoss(pos_weight)
    value, gradient = _with_gradient(loss, logits, target)
    unknown = target < 0
    changed, changed_gradient = _with_gradient(
        loss, torch.where(unknown, 50 * torch.randn_like(logits), logits), target
    )
    assert torch.equal(value, changed)
    assert torch.equal(gradient, changed_gradient)
    assert torch.equal(gradient[unknown], torch.zeros(int(unknown.sum())))
    assert bool((gradient[~unknown] != 0).all())


def test_observation_loss_is_the_mean_over_known_targets() -> None:
    logits = torch.tensor([[0.5, -1.0, 7.0], [2.0, 9.0, -3.0]])
    target = torch.tensor([[1.0, 0.0, -1.0], [0.7, -1.0, 0.0]])
    expected = (_bce(0.5, 1) + _bce(-1.0, 0) + _bce(2.0, 0.7) + _bce(-3.0, 0)) / 4
    assert float(ObservationLoss()(logits, target)) == pytest.approx(expected, rel=1e-6)


def test_pos_weight_multiplies_positive_targets_of_its_own_observation() -> None:
    logits, target = torch.tensor([[0.5, -1.0]]), torch.tensor([[1.0, 1.0]])
    expected = (2 * _bce(0.5, 1) + 5 * _bce(-1.0, 1)) / 2
    assert float(ObservationLoss([2.0, 5.0])(logits, target)) == pytest.approx(expected, rel=1e-6)


def test_no_known_target_gives_zero_loss_and_zero_gradient() -> None:
    value, gradient = _with_gradient(ObservationLoss(), torch.randn(2, 14), torch.full((2, 14), -1.0))
    assert float(value) == 0.0
    assert torch.equal(gradient, torch.zeros(2, 14))


def test_pos_weight_is_not_part_of_a_checkpoint() -> None:
    assert ObservationLoss(2.0).state_dict() == {}


@pytest.mark.parametrize("dice_weight", [0.0, 1.0])
def test_ignored_pixels_contribute_nothing(pixels, dice_weight: float) -> None:
    logits, label = pixels
    loss = PartialLabelLoss(background_weight=0.3, dice_weight=dice_weight)
    value, gradient = _with_gradient(loss, logits, label)
    ignored = label == IGNORE
    for other in (50 * torch.randn_like(logits), torch.full_like(logits, 1e30), torch.full_like(logits, -1e30)):
        changed, changed_gradient = _with_gradient(loss, torch.where(ignored, other, logits), label)
        assert torch.equal(value, changed)
        assert torch.equal(gradient, changed_gradient)
    assert torch.equal(gradient[ignored], torch.zeros(int(ignored.sum())))
    assert bool((gradient[~ignored] != 0).all())


@pytest.mark.parametrize("dice_weight", [0.0, 1.0])
@pytest.mark.parametrize("background_weight", [0.0, 1.0])
def test_everything_ignored_gives_zero_loss_and_zero_gradient(dice_weight: float, background_weight: float) -> None:
    loss = PartialLabelLoss(background_weight, dice_weight)
    value, gradient = _with_gradient(loss, torch.randn(1, 2, 3, 3), torch.full((1, 2, 3, 3), IGNORE))
    assert float(value) == 0.0
    assert torch.equal(gradient, torch.zeros(1, 2, 3, 3))


def _plainly(logits: torch.Tensor, label: torch.Tensor, background_weight: float, dice_weight: float) -> torch.Tensor:
    """The formula of the docstring, pixel lists instead of masks."""
    known = label != IGNORE
    truth, p = label[known].to(logits.dtype), torch.sigmoid(logits[known])
    weight = torch.where(truth == 1, 1.0, background_weight)
    loss = -(weight * (truth * p.log() + (1 - truth) * (1 - p).log())).sum() / weight.sum()
    dice = []
    for channel in range(label.shape[1]):
        inside = label[:, channel] != IGNORE
        truth = label[:, channel][inside].to(logits.dtype)
        p = torch.sigmoid(logits[:, channel][inside])
        if truth.sum() > 0:
            dice.append(1 - (2 * (p * truth).sum() + 1) / (p.sum() + truth.sum() + 1))
    return loss + dice_weight * torch.stack(dice).mean()


@pytest.mark.parametrize(("background_weight", "dice_weight"), [(1.0, 0.0), (1.0, 1.0), (0.1, 1.0), (0.0, 2.5)])
def test_value_and_gradient_are_those_of_the_formula(pixels, background_weight: float, dice_weight: float) -> None:
    logits, label = pixels[0].double(), pixels[1]
    loss = PartialLabelLoss(background_weight, dice_weight)
    value, gradient = _with_gradient(loss, logits, label)
    expected, expected_gradient = _with_gradient(
        lambda x, y: _plainly(x, y, background_weight, dice_weight), logits, label
    )
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(gradient, expected_gradient)
    torch.testing.assert_close(_with_gradient(lambda x, y: 3 * loss(x, y), logits, label)[1], 3 * gradient)


def test_labels_may_carry_metadata_and_any_memory_layout(pixels) -> None:
    logits, label = pixels
    expected, expected_gradient = _with_gradient(PartialLabelLoss(), logits, label)
    layout = logits.contiguous(memory_format=torch.channels_last)
    value, gradient = _with_gradient(PartialLabelLoss(), layout, MetaTensor(label.float()))
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(gradient, expected_gradient)


def test_cross_entropy_weights_the_background_less() -> None:
    logits = torch.tensor([[[[0.5, -1.0, 2.0, 9.0]]]])
    label = torch.tensor([[[[1, 0, 0, IGNORE]]]])
    expected = (_bce(0.5, 1) + 0.1 * _bce(-1.0, 0) + 0.1 * _bce(2.0, 0)) / 1.2
    value = PartialLabelLoss(background_weight=0.1, dice_weight=0.0)(logits, label)
    assert float(value) == pytest.approx(expected, rel=1e-6)


def test_dice_counts_known_pixels_of_the_whole_batch() -> None:
    half, high = 0.5, 1 / (1 + exp(-2.0))
    logits = torch.tensor([[[[0.0, 2.0, 3.0]]], [[[2.0, 0.0, -1.0]]]])
    label = torch.tensor([[[[1, 0, IGNORE]]], [[[1, 0, IGNORE]]]])
    size = (half + high + high + half) + 2
    expected = 1 - (2 * (half + high) + 1) / (size + 1)
    plain = PartialLabelLoss(dice_weight=0.0)(logits, label)
    with_dice = PartialLabelLoss(dice_weight=2.0)(logits, label)
    assert float(with_dice - plain) == pytest.approx(2 * expected, rel=1e-5)


def test_dice_leaves_out_channels_without_foreground() -> None:
    logits = torch.randn(2, 3, 4, 4)
    label = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    label[:, 1, :2] = 1
    both = PartialLabelLoss()(logits, label) - PartialLabelLoss(dice_weight=0.0)(logits, label)
    one = PartialLabelLoss()(logits[:, 1:2], label[:, 1:2]) - PartialLabelLoss(dice_weight=0.0)(
        logits[:, 1:2], label[:, 1:2]
    )
    torch.testing.assert_close(both, one)


def test_a_perfect_prediction_costs_nothing() -> None:
    label = torch.zeros(1, 2, 4, 4, dtype=torch.uint8)
    label[:, :, :2] = 1
    logits = torch.where(label > 0, 40.0, -40.0)
    assert float(PartialLabelLoss()(logits, label)) == pytest.approx(0.0, abs=1e-6)
