"""Losses are their formulas; what is ignored contributes nothing, not even the last bit."""

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor
from torch import nn

from doll_monai.findings import IGNORE
from doll_monai.losses.partial import (
    GeneralizedCrossEntropyLoss,
    NoiseRobustDiceLoss,
    ObservationLoss,
    PartialLabelLoss,
)

LOSSES = [
    pytest.param(PartialLabelLoss(), id="partial"),
    pytest.param(PartialLabelLoss(dice_weight=0.0), id="partial-cross-entropy"),
    pytest.param(PartialLabelLoss(background_weight=0.1, dice_weight=2.5), id="partial-weighted"),
    pytest.param(PartialLabelLoss(background_weight=0.0), id="partial-foreground"),
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
    known = label != IGNORE
    g, p = label[known].to(logits.dtype), torch.sigmoid(logits[known])
    agreement = torch.where(g == 1, p, 1 - p)
    weight = torch.where(g == 1, 1.0, getattr(loss, "background_weight", 1.0)).to(logits.dtype)
    if isinstance(loss, GeneralizedCrossEntropyLoss):
        return (weight * (1 - agreement**loss.q) / loss.q).sum() / weight.sum()
    channels = []
    for channel in range(label.shape[1]):
        inside = label[:, channel] != IGNORE
        g, p = label[:, channel][inside].to(logits.dtype), torch.sigmoid(logits[:, channel][inside])
        if g.sum() > 0 and isinstance(loss, NoiseRobustDiceLoss):
            channels.append(((p - g).abs() ** loss.exponent).sum() / ((p**2).sum() + (g**2).sum()))
        elif g.sum() > 0:
            channels.append(1 - (2 * (p * g).sum() + 1) / (p.sum() + g.sum() + 1))
    mean = torch.stack(channels).mean()
    if isinstance(loss, NoiseRobustDiceLoss):
        return mean
    assert isinstance(loss, PartialLabelLoss)
    return -(weight * agreement.log()).sum() / weight.sum() + loss.dice_weight * mean


@each_loss
def test_value_and_gradient_are_those_of_the_formula(pixels, loss: nn.Module) -> None:
    value, gradient = _with_gradient(loss, *pixels)
    expected, expected_gradient = _with_gradient(lambda x, y: _plainly(loss, x, y), *pixels)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(gradient, expected_gradient)


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
    assert bool((gradient[label == 1] != 0).all())


@each_loss
def test_everything_ignored_gives_zero_loss_and_zero_gradient(loss: nn.Module) -> None:
    value, gradient = _with_gradient(loss, torch.randn(1, 2, 3, 3), torch.full((1, 2, 3, 3), IGNORE))
    assert float(value) == 0.0
    assert not gradient.any()


@each_loss
@pytest.mark.parametrize("size", [100.0, -100.0, 1e30])
def test_saturated_logits_have_a_finite_gradient(pixels, loss: nn.Module, size: float) -> None:
    logits = torch.full(pixels[1].shape, size)
    assert all(bool(torch.isfinite(x).all()) for x in _with_gradient(loss, logits, pixels[1]))


@each_loss
def test_labels_may_carry_metadata_and_any_memory_layout(pixels, loss: nn.Module) -> None:
    logits, label = pixels
    layout = MetaTensor(logits.contiguous(memory_format=torch.channels_last))
    value = loss(layout, MetaTensor(label.float()))
    assert not isinstance(value, MetaTensor)
    torch.testing.assert_close(value, loss(logits, label))


@pytest.mark.parametrize("make", [lambda: NoiseRobustDiceLoss(0.5), lambda: GeneralizedCrossEntropyLoss(0.0)])
def test_meaningless_settings_are_refused(make) -> None:
    with pytest.raises(ValueError, match="must be"):
        make()


@pytest.mark.parametrize("pos_weight", [1.0, [float(number) for number in range(1, 15)]])
@pytest.mark.parametrize("share", [0.4, 1.0])
def test_observation_loss_is_the_weighted_mean_over_known_targets(pos_weight, share: float) -> None:
    logits, target, unknown = torch.randn(5, 14), torch.rand(5, 14), torch.rand(5, 14) < share
    p, weight = torch.sigmoid(logits), torch.as_tensor(pos_weight).expand(5, 14)
    each = -(weight * target * p.log() + (1 - target) * (1 - p).log())[~unknown]
    target[unknown] = -1.0
    logits[unknown] *= 50
    value, gradient = _with_gradient(ObservationLoss(pos_weight), logits, target)
    torch.testing.assert_close(value, each.sum() / max(len(each), 1))
    assert torch.equal(gradient != 0, ~unknown)
