"""Randomized sources: against captum by hand and Integrated Gradients, and what their noise depends on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import GradientShap
from ignite.engine import Events
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator
from monai.networks.nets import DenseNet
from torch import nn

from doll_monai.attribution.integrated_gradients import path_gradient
from doll_monai.findings import finding_index
from doll_monai.handlers.captum_sources import CaptumHandler
from doll_monai.handlers.explainer import SOURCES, check_source
from doll_monai.handlers.gradcam import GradCAMHandler
from doll_monai.handlers.integrated_gradients import IntegratedGradientsHandler
from doll_monai.utils.errors import InputError

EDEMA, FRACTURE, NO_FINDING = finding_index("Edema"), finding_index("Fracture"), finding_index("No Finding")
each_method = pytest.mark.parametrize("method", ["gradient_shap", "noise_tunnel"])


@pytest.fixture
def network() -> nn.Module:
    return DenseNet(2, 1, 14, init_features=8, growth_rate=4, block_config=(2, 2)).eval()


@pytest.fixture
def records() -> list[dict[str, torch.Tensor]]:
    """Three images; the second has no positive observation."""
    labels = torch.zeros(3, 14)
    labels[0, [NO_FINDING, EDEMA, FRACTURE]] = 1.0
    labels[1, EDEMA] = -1.0
    labels[2, FRACTURE] = 0.5
    return [{"image": torch.rand(1, 32, 32), "label": label} for label in labels]


def _explain(records, handlers: list[Any], batch_size: int = 3) -> list[dict[str, Any]]:
    """Decollated outputs of an evaluator with the handlers."""
    seen: list[dict[str, Any]] = []
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset(records), batch_size=batch_size),
        network=nn.Identity(),
        val_handlers=handlers,
    )
    evaluator.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: seen.extend(engine.state.output))
    evaluator.run()
    return seen


def _maps(records, handler: Any, batch_size: int = 3) -> torch.Tensor:
    return torch.stack([torch.as_tensor(item["attribution_0"]) for item in _explain(records, [handler], batch_size)])


@each_method
def test_only_positive_observations_with_a_place_are_explained(records, network, method: str) -> None:
    seen = _explain(records, [CaptumHandler([network], method, n_samples=2, n_steps=2)])
    explained = [item["attribution_0"].flatten(1).any(dim=1).nonzero().flatten().tolist() for item in seen]
    assert explained == [[EDEMA, FRACTURE], [], [FRACTURE]]
    assert all(bool(item["completeness_error_0"].isnan().all()) for item in seen)
    steps = 4 if method == "noise_tunnel" else 2
    for item, positives in zip(seen, explained, strict=True):
        assert item["n_steps_0"].nonzero().flatten().tolist() == positives
        assert set(item["n_steps_0"].tolist()) <= {0, steps}


@each_method
def test_neither_batch_nor_order_nor_global_state_changes_the_result(records, network, method: str) -> None:
    handler = CaptumHandler([network], method, n_samples=3, n_steps=2)
    together = _maps(records, handler)
    torch.manual_seed(123)
    np.random.seed(123)  # noqa: NPY002 - the global state must not matter
    assert torch.equal(_maps(records, handler, batch_size=1), together)
    assert torch.equal(_maps(records[::-1], handler, batch_size=2).flip(0), together)


@each_method
def test_another_seed_or_member_has_other_noise(records, network, method: str) -> None:
    arguments = {"method": method, "n_samples": 2, "n_steps": 2}
    first = _maps(records, CaptumHandler([network], **arguments))
    assert not torch.equal(first, _maps(records, CaptumHandler([network], seed=1, **arguments)))
    item = _explain(records, [CaptumHandler([network, network], **arguments)])[0]
    assert not torch.equal(torch.as_tensor(item["attribution_0"]), torch.as_tensor(item["attribution_1"]))


@each_method
def test_global_generators_and_the_network_are_left_as_they_were(records, network, method: str) -> None:
    network.train()
    handler = CaptumHandler([network], method, n_samples=2, n_steps=2)
    numpy_before, torch_before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    image = torch.stack([record["image"] for record in records])
    wanted = torch.zeros(3, 14, dtype=torch.bool)
    wanted[:, EDEMA] = True
    engine = SupervisedEvaluator(torch.device("cpu"), [], nn.Identity())
    engine.state.output = {}
    handler.explain(engine, 0, network, image, wanted)
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002
    assert all(module.training for module in network.modules())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_gradient_shap_is_captums(records, network) -> None:
    """The mean of captum's own calls with many samples comes near the handler's with many samples."""
    image = records[2]["image"][None]
    explainer = GradientShap(network, multiply_by_inputs=False)
    expected = explainer.attribute(image, torch.zeros_like(image), n_samples=512, stdevs=0.05, target=FRACTURE)[0, 0]
    handler = CaptumHandler([network], "gradient_shap", n_samples=512, stdevs=0.05, internal_batch_size=100)
    found = _maps(records, handler)[2, FRACTURE]
    assert float(torch.corrcoef(torch.stack([found.flatten(), expected.flatten()]))[0, 1]) > 0.95


def test_noise_of_width_zero_is_integrated_gradients(records, network) -> None:
    image = torch.stack([record["image"] for record in records])
    wanted = torch.stack([record["label"] for record in records]) >= 0.5
    wanted[:, NO_FINDING] = False
    expected = path_gradient(network, image, wanted, baselines=0.2, n_steps=5).gradient
    handler = CaptumHandler([network], "noise_tunnel", n_samples=3, stdevs=0, n_steps=5, baselines=0.2)
    torch.testing.assert_close(_maps(records, handler), expected, rtol=1e-3, atol=1e-6)


def test_a_known_completeness_error_is_not_overwritten(records, network) -> None:
    handlers = [IntegratedGradientsHandler([network], n_steps=3), GradCAMHandler([network], ["features.denseblock2"])]
    for order in (handlers, handlers[::-1]):
        item = _explain(records, order)[0]
        assert bool(item["completeness_error_0"][EDEMA].isfinite())
        assert int(item["n_steps_0"][EDEMA]) == 3


def test_grad_cam_alone_has_what_a_label_writer_needs(records, network) -> None:
    item = _explain(records, [GradCAMHandler([network], ["features.denseblock2"], output_prefix="attribution")])[0]
    assert item["attribution_0"].shape == (14, 32, 32)
    assert bool(item["completeness_error_0"].isnan().all())
    assert int(item["n_steps_0"].sum()) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"method": "lime"}, "'gradient_shap' or 'noise_tunnel', not 'lime'"),
        ({"method": "noise_tunnel", "n_samples": 0}, "not 0 of"),
        ({"method": "gradient_shap", "stdevs": -0.1}, "of -0.1"),
    ],
)
def test_impossible_values_are_refused(network, arguments, words: str) -> None:
    with pytest.raises(InputError, match=words):
        CaptumHandler([network], **arguments)


def test_a_layer_that_is_not_there_is_named(network) -> None:
    with pytest.raises(InputError, match="Member 1 has no layer 'layer4'"):
        GradCAMHandler([network, network], ["features.denseblock2", "layer4"])


def test_a_misspelt_source_is_refused() -> None:
    for source in SOURCES:
        check_source(source)
    with pytest.raises(InputError, match="no source 'grad_cam'"):
        check_source("grad_cam")
