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


@pytest.mark.parametrize("baselines", [0.2, torch.full((3, 1, 32, 32), 0.2)])
def test_nested_with_one_level_is_the_trapezoidal_rule(baselines) -> None:
    network, image, wanted = with_statistics(resnet()), torch.rand(3, 1, 32, 32), _wanted(3)
    result = path_gradient(network, image, wanted, baselines=baselines, n_steps=4, method="nested", max_steps=4)
    nodes, weights = [0.0, 0.25, 0.5, 0.75, 1.0], [0.125, 0.25, 0.25, 0.25, 0.125]
    for index, target in wanted.nonzero().tolist():
        expected = torch.zeros(32, 32)
        for node, weight in zip(nodes, weights, strict=True):
            x = (0.2 + node * (image[index] - 0.2))[None].requires_grad_()
            expected += weight * torch.autograd.grad(network(x)[0, target], x)[0][0, 0]
        assert _difference(result.gradient[index, target], expected) < 1e-4
    assert torch.equal(result.n_steps, 4 * wanted)


def test_nested_takes_more_steps_only_where_the_completeness_error_is_above_the_tolerance() -> None:
    network, image, wanted = with_statistics(resnet()), torch.rand(4, 1, 32, 32), _wanted(4)
    arguments = {"baselines": 0.1, "method": "nested", "n_steps": 4}
    few = path_gradient(network, image, wanted, **arguments, max_steps=4)
    tolerance = float(few.completeness_error[wanted].median())
    result = path_gradient(network, image, wanted, **arguments, max_steps=200, tolerance=tolerance)
    assert float(result.completeness_error[wanted].max()) <= tolerance * 1.01 + 1e-4
    content = wanted & (few.completeness_error <= tolerance * 0.99)
    assert int(content.sum()) > 0
    assert bool((result.n_steps[content] == 4).all())
    for index, target in content.nonzero().tolist():
        assert _difference(result.gradient[index, target], few.gradient[index, target]) < 1e-5
    more = wanted & (few.completeness_error > tolerance * 1.01)
    assert bool((result.n_steps[more] > 4).all())


def test_nested_stops_at_the_most_steps_that_it_may_take() -> None:
    network, image, wanted = with_statistics(resnet()), torch.rand(2, 1, 32, 32), _wanted(2)
    arguments = {"method": "nested", "n_steps": 4, "tolerance": 0.0}
    for most in (4, 7, 8, 30):
        assert torch.equal(path_gradient(network, image, wanted, **arguments, max_steps=most).n_steps, most * wanted)


def test_nested_adds_steps_where_the_gradient_changes() -> None:
    """A network that is steep in a part of the path only: the other part needs no more nodes."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, TARGETS, bias=False), nn.Sigmoid()).eval()
    with torch.no_grad():
        network[1].weight.fill_(2.0)
    image, wanted = torch.ones(1, 1, 4, 4), torch.zeros(1, TARGETS, dtype=torch.bool)
    wanted[0, 2] = True
    seen: list[float] = []

    def run(x: torch.Tensor, f) -> torch.Tensor:
        seen.extend(x.detach()[:, 0, 0, 0].tolist())
        return f(x)

    result = path_gradient(
        network, image, wanted, method="nested", n_steps=8, max_steps=40, tolerance=1e-3, baselines=-1.0, run=run
    )
    assert float(result.completeness_error[0, 2]) <= 1.1e-3
    steps = int(result.n_steps[0, 2])
    assert 16 < steps < 40
    added = torch.tensor(seen[-(steps - 16) :])  # first of all every one of the eight steps is halved
    # the sigmoid of 32 x changes around x = 0, the middle of the path
    assert float(added.abs().max()) < 0.5
    even = path_gradient(network, image, wanted, method="nested", n_steps=steps, max_steps=steps, baselines=-1.0)
    assert float(result.completeness_error[0, 2]) < float(even.completeness_error[0, 2])


def test_the_bytes_of_an_image_do_not_depend_on_how_many_steps_its_neighbors_need() -> None:
    network, image, wanted = with_statistics(densenet()), torch.rand(3, 1, 32, 32), torch.zeros(3, TARGETS).bool()
    wanted[:, [2, 5]] = True
    arguments = {"method": "nested", "n_steps": 4, "max_steps": 16, "tolerance": 0.01, "internal_batch_size": 12}
    result = path_gradient(network, image, wanted, **arguments)
    other = image.clone()
    other[1] = 0.0  # a black image: it is its own baseline and needs no more steps
    changed = path_gradient(network, other, wanted, **arguments)
    assert changed.n_steps[1, [2, 5]].tolist() == [4, 4]
    assert int(result.n_steps.max()) > 4
    for index in (0, 2):
        assert torch.equal(result.gradient[index], changed.gradient[index])


@pytest.mark.parametrize("build", [resnet, densenet])
def test_bfloat16_comes_close_to_float32(build) -> None:
    network, image, wanted = with_statistics(build()), torch.rand(2, 1, 64, 64), _wanted(2)
    wanted[-1, 4] = True
    exact = path_gradient(network, image, wanted, n_steps=8, method="nested", max_steps=8)
    rounded = path_gradient(
        network, image, wanted, n_steps=8, method="nested", max_steps=8, run=AutocastInferer(dtype="bfloat16")
    )
    assert _difference(rounded.gradient, exact.gradient) < 0.1
    assert rounded.gradient.dtype == torch.float32


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"engine": "other"}, "engine must be one of doll, captum"),
        ({"method": "simpson"}, "method must be"),
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
