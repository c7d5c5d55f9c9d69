"""Integrated Gradients: captum is the reference, completeness the invariant, all targets share one path."""

from __future__ import annotations

import pytest
import torch
from captum.attr import IntegratedGradients
from torch import nn

from doll_monai.attribution.integrated_gradients import path_gradient
from doll_monai.attribution.path import path_through
from doll_monai.inferers.autocast import AutocastInferer

from .networks import TARGETS, densenet, efficientnet, resnet, with_statistics


def _smooth() -> nn.Module:
    """A network without kinks, so that few steps integrate it well."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1),
        nn.GELU(),
        nn.Conv2d(6, 6, 3, padding=1, stride=2),
        nn.Softplus(),
        nn.AdaptiveAvgPool2d(3),
        nn.Flatten(),
        nn.Linear(54, TARGETS),
    ).eval()


def _wanted(batch: int) -> torch.Tensor:
    """Different numbers of targets in each image, none in the last."""
    wanted = torch.rand(batch, TARGETS) < 0.25
    wanted[0, 3] = True
    wanted[0, 11] = True
    wanted[-1] = False
    return wanted


def _difference(ours: torch.Tensor, reference: torch.Tensor) -> float:
    return float((ours - reference).norm() / reference.norm())


@pytest.mark.parametrize("build", [resnet, densenet, efficientnet])
def test_agrees_with_captum_called_target_by_target(build) -> None:
    network, image, wanted = build(), torch.rand(3, 1, 32, 32), _wanted(3)
    baseline = 0.1 * torch.rand(3, 1, 32, 32)
    ours = path_gradient(network, image, wanted, baselines=baseline, n_steps=6, internal_batch_size=7)
    captum = IntegratedGradients(network)
    for index, target in wanted.nonzero().tolist():
        one = slice(index, index + 1)
        reference = captum.attribute(image[one], baseline[one], target, n_steps=6, internal_batch_size=6)
        attribution = ours.gradient[index, target] * (image - baseline)[index, 0]
        assert _difference(attribution, reference[0, 0]) < 1e-4


def test_captum_engine_gives_the_same_result() -> None:
    network, image, wanted = densenet(), torch.rand(4, 1, 32, 32), _wanted(4)
    ours = path_gradient(network, image, wanted, n_steps=8)
    captum = path_gradient(network, image, wanted, n_steps=8, engine="captum")
    assert _difference(ours.gradient, captum.gradient) < 1e-4
    torch.testing.assert_close(ours.completeness_error, captum.completeness_error, rtol=1e-3, atol=1e-4, equal_nan=True)
    assert torch.equal(ours.n_steps, captum.n_steps)
    assert torch.equal(ours.n_steps, 8 * wanted)


@pytest.mark.parametrize("internal_batch_size", [1, 3, 5, 1000])
def test_result_does_not_depend_on_the_internal_batch_size(internal_batch_size: int) -> None:
    network, image, wanted = resnet(), torch.rand(3, 1, 32, 32), _wanted(3)
    reference = path_gradient(network, image, wanted, n_steps=7, internal_batch_size=7)
    path = path_through(network, image)
    result = path_gradient(path, image, wanted, n_steps=7, internal_batch_size=internal_batch_size)
    assert _difference(result.gradient, reference.gradient) < 1e-5


@pytest.mark.parametrize("engine", ["doll", "captum"])
@pytest.mark.parametrize("some", [True, False])
def test_zero_and_nan_exactly_where_a_target_is_not_wanted(some: bool, engine: str) -> None:
    wanted = _wanted(4) & some
    result = path_gradient(resnet(), torch.rand(4, 1, 32, 32), wanted, n_steps=4, engine=engine)
    assert torch.equal(result.completeness_error.isnan(), ~wanted)
    assert torch.equal(result.gradient.flatten(2).abs().sum(2) > 0, wanted)
    assert result.gradient.dtype == torch.float32


def test_attributions_of_a_linear_network_are_weight_times_input() -> None:
    linear = nn.Sequential(nn.Flatten(), nn.Linear(16, TARGETS)).eval()
    image = torch.rand(2, 1, 4, 4)
    wanted = torch.ones(2, TARGETS, dtype=torch.bool)
    result = path_gradient(linear, image, wanted, baselines=0.3, n_steps=1)
    weight = linear[1].weight.view(1, TARGETS, 4, 4).expand(2, -1, -1, -1)
    torch.testing.assert_close(result.gradient, weight)
    assert float(result.completeness_error.max()) < 1e-4


def test_completeness_error_is_what_its_formula_says_and_small_where_many_steps_are_taken() -> None:
    network, image, wanted = _smooth(), torch.rand(3, 1, 16, 16), _wanted(3)
    fine = path_gradient(network, image, wanted, baselines=0.2, n_steps=64)
    assert float(fine.completeness_error[wanted].max()) < 1e-3
    result = path_gradient(network, image, wanted, baselines=0.2, n_steps=1)
    with torch.no_grad():
        change = network(image) - network(torch.full_like(image, 0.2))
    total = (result.gradient * (image - 0.2)).sum((2, 3))
    expected = (total - change).abs() / change.abs().clamp(min=1e-3)
    torch.testing.assert_close(result.completeness_error[wanted], expected[wanted], rtol=1e-3, atol=1e-5)


def test_an_image_that_equals_its_baseline_has_no_completeness_error() -> None:
    wanted = torch.ones(1, TARGETS, dtype=torch.bool)
    result = path_gradient(_smooth(), torch.full((1, 1, 8, 8), 0.5), wanted, baselines=0.5, n_steps=2)
    # nothing to explain: neither NaN nor 1, but 0 up to the rounding of the processor
    torch.testing.assert_close(result.completeness_error, torch.zeros(1, TARGETS), rtol=0, atol=1e-3)


def test_works_where_gradients_are_off_and_leaves_no_trace() -> None:
    network, image, wanted = resnet(), torch.rand(2, 1, 32, 32), _wanted(2)
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    with torch.no_grad():
        result = path_gradient(network, image, wanted, n_steps=2)
        assert not torch.is_grad_enabled()
    assert float(result.gradient.abs().sum()) > 0
    assert not result.gradient.requires_grad
    assert not image.requires_grad
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize("build", [resnet, densenet])
def test_bfloat16_comes_close_to_float32(build) -> None:
    network, image, wanted = with_statistics(build()), torch.rand(2, 1, 64, 64), _wanted(2)
    wanted[-1, 4] = True
    exact = path_gradient(network, image, wanted, n_steps=8)
    rounded = path_gradient(network, image, wanted, n_steps=8, run=AutocastInferer(dtype="bfloat16"))
    assert _difference(rounded.gradient, exact.gradient) < 0.1
    assert rounded.gradient.dtype == torch.float32


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"engine": "other"}, "engine must be one of doll, captum"),
        ({"n_steps": 0}, "n_steps must be at least 1"),
        ({"inputs": torch.rand(2, 3, 8, 8)}, "inputs must be"),
        ({"inputs": torch.rand(2, 1, 8)}, "inputs must be"),
        ({"inputs": torch.rand(3, 1, 8, 8)}, "inputs must be"),
    ],
)
def test_wrong_arguments_are_refused(changed: dict, sentence: str) -> None:
    arguments = {"inputs": torch.rand(2, 1, 8, 8), "target": torch.ones(2, TARGETS, dtype=torch.bool), "n_steps": 2}
    with pytest.raises(ValueError, match=sentence):
        path_gradient(_smooth(), **{**arguments, **changed})
