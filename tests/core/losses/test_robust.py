"""Losses for wrong labels: the papers' formulas, ignored pixels worth nothing, wrong pixels worth little."""

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor
from torch import nn

from doll_monai.findings import IGNORE
from doll_monai.losses.partial import PartialLabelLoss
from doll_monai.losses.robust import GeneralizedCrossEntropyLoss, NoiseRobustDiceLoss

LOSSES = [
    pytest.param(NoiseRobustDiceLoss(), id="dice"),
    pytest.param(NoiseRobustDiceLoss(exponent=1.0), id="dice-1"),
    pytest.param(GeneralizedCrossEntropyLoss(), id="gce"),
    pytest.param(GeneralizedCrossEntropyLoss(q=0.3, background_weight=0.1), id="gce-weighted"),
    pytest.param(GeneralizedCrossEntropyLoss(background_weight=0.0), id="gce-foreground"),
]
each_loss = pytest.mark.parametrize("loss", LOSSES)


@pytest.fixture
def pixels() -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and label; channel 2 has no foreground, channel 3 is ignored."""
    label = (torch.rand(2, 4, 5, 6) < 0.3).to(torch.uint8)
    label[:, 2] = 0
    label[torch.rand(label.shape) < 0.3] = IGNORE
    label[:, 3] = IGNORE
    return torch.randn(2, 4, 5, 6, dtype=torch.float64), label


def _with_gradient(loss, logits: torch.Tensor, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    logits = logits.clone().requires_grad_()
    value = loss(logits, label)
    (gradient,) = torch.autograd.grad(value, logits)
    return value.detach(), gradient


def _plainly(loss: nn.Module, logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """The formulas of the docstrings over lists of pixels."""
    if isinstance(loss, NoiseRobustDiceLoss):
        quotients = []
        for channel in range(label.shape[1]):
            inside = label[:, channel] != IGNORE
            g, p = label[:, channel][inside].to(logits.dtype), torch.sigmoid(logits[:, channel][inside])
            if g.sum() > 0:
                quotients.append(((p - g).abs() ** loss.exponent).sum() / ((p**2).sum() + (g**2).sum()))
        return sum(quotients) / len(quotients)
    assert isinstance(loss, GeneralizedCrossEntropyLoss)
    known = label != IGNORE
    g, p = label[known], torch.sigmoid(logits[known])
    agreement = torch.where(g == 1, p, 1 - p)
    weight = torch.where(g == 1, 1.0, loss.background_weight).to(logits.dtype)
    return (weight * (1 - agreement**loss.q) / loss.q).sum() / weight.sum()


@each_loss
def test_value_and_gradient_are_those_of_the_formula(pixels, loss: nn.Module) -> None:
    value, gradient = _with_gradient(loss, *pixels)
    expected, expected_gradient = _with_gradient(lambda x, y: _plainly(loss, x, y), *pixels)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(gradient, expected_gradient)


@each_loss
def test_gradient_is_that_of_finite_differences(pixels, loss: nn.Module) -> None:
    logits, label = pixels
    assert torch.autograd.gradcheck(lambda x: loss(x, label), logits.requires_grad_())


@each_loss
def test_ignored_pixels_contribute_nothing(pixels, loss: nn.Module) -> None:
    logits, label = pixels[0].float(), pixels[1]
    value, gradient = _with_gradient(loss, logits, label)
    ignored = label == IGNORE
    for other in (50 * torch.randn_like(logits), torch.full_like(logits, 1e30), torch.full_like(logits, -torch.inf)):
        changed, changed_gradient = _with_gradient(loss, torch.where(ignored, other, logits), label)
        assert torch.equal(value, changed)
        assert torch.equal(gradient, changed_gradient)
    assert torch.equal(gradient[ignored], torch.zeros(int(ignored.sum())))
    assert bool((gradient[:, :2][~ignored[:, :2] & (label[:, :2] == 1)] != 0).all())


@each_loss
def test_everything_ignored_gives_zero_loss_and_zero_gradient(loss: nn.Module) -> None:
    value, gradient = _with_gradient(loss, torch.randn(1, 2, 3, 3), torch.full((1, 2, 3, 3), IGNORE))
    assert float(value) == 0.0
    assert torch.equal(gradient, torch.zeros(1, 2, 3, 3))


@each_loss
@pytest.mark.parametrize("size", [100.0, -100.0, 1e30])
def test_saturated_logits_have_a_finite_gradient(pixels, loss: nn.Module, size: float) -> None:
    logits = torch.full(pixels[1].shape, size)
    assert all(bool(torch.isfinite(x).all()) for x in _with_gradient(loss, logits, pixels[1]))


@each_loss
def test_a_perfect_prediction_costs_nothing(loss: nn.Module) -> None:
    label = torch.zeros(1, 2, 4, 4, dtype=torch.uint8)
    label[:, :, :2] = 1
    assert float(loss(torch.where(label > 0, 40.0, -40.0), label)) == pytest.approx(0.0, abs=1e-6)


@each_loss
def test_labels_may_carry_metadata(pixels, loss: nn.Module) -> None:
    logits, label = pixels
    value = loss(MetaTensor(logits), MetaTensor(label.float()))
    assert not isinstance(value, MetaTensor)
    torch.testing.assert_close(value, loss(logits, label))


def test_dice_with_exponent_two_is_one_minus_dice_of_squares(pixels) -> None:
    logits, label = pixels[0][:, :1], torch.where(pixels[1] == 1, 1, 0)[:, :1]
    p, g = torch.sigmoid(logits), label.to(logits.dtype)
    expected = 1 - 2 * (p * g).sum() / ((p**2).sum() + (g**2).sum())
    torch.testing.assert_close(NoiseRobustDiceLoss(exponent=2.0)(logits, label), expected)


def test_a_small_q_is_cross_entropy(pixels) -> None:
    small = GeneralizedCrossEntropyLoss(q=1e-6, background_weight=0.1)(*pixels)
    torch.testing.assert_close(small, PartialLabelLoss(0.1, dice_weight=0.0)(*pixels), rtol=1e-4, atol=1e-4)


def test_a_confidently_contradicted_pixel_counts_little() -> None:
    """Cross-entropy pulls hardest at the pixel that fits worst, generalized cross-entropy hardly at all."""
    logits, label = torch.tensor([[[[0.0, -6.0]]]]), torch.ones(1, 1, 1, 2)
    _, robust = _with_gradient(GeneralizedCrossEntropyLoss(), logits, label)
    _, plain = _with_gradient(PartialLabelLoss(dice_weight=0.0), logits, label)
    assert abs(robust[..., 1]) < 0.1 * abs(robust[..., 0])
    assert abs(plain[..., 1]) > abs(plain[..., 0])


@pytest.mark.parametrize("make", [lambda: NoiseRobustDiceLoss(0.5), lambda: GeneralizedCrossEntropyLoss(0.0)])
def test_meaningless_settings_are_refused(make) -> None:
    with pytest.raises(ValueError, match="must be"):
        make()
