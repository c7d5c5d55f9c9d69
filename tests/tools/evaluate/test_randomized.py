"""Randomized networks have forgotten everything, and their maps come beside the real ones and change nothing else."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from ignite.engine import Events
from monai.data import DataLoader, Dataset
from monai.engines import EnsembleEvaluator
from monai.networks.nets import DenseNet, EfficientNetBN, ResNet
from torch import nn

from doll_monai.findings import finding_index
from doll_monai.handlers.explanations import IntegratedGradientsHandler
from doll_tools.evaluate.randomized import RandomizedExplainer, randomize

EDEMA = finding_index("Edema")


def _resnet() -> nn.Module:
    return ResNet(
        "basic", [1, 1, 1, 1], [4, 4, 8, 8], spatial_dims=2, n_input_channels=1, num_classes=14, bias_downsample=False
    )


NETWORKS = {
    "resnet": _resnet,
    "densenet": lambda: DenseNet(2, 1, 14, init_features=8, growth_rate=4, block_config=(2, 2)),
    "efficientnet": lambda: EfficientNetBN("efficientnet-b0", False, spatial_dims=2, in_channels=1, num_classes=14),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_nothing_of_a_trained_network_is_left(name: str) -> None:
    network = NETWORKS[name]()
    with torch.no_grad():
        for value in network.state_dict().values():
            value.copy_(torch.full_like(value, 7))
    randomize(network, seed=0)
    for key, value in network.state_dict().items():
        assert not bool((value == 7).any()), key
        if key.endswith(("running_mean", "num_batches_tracked")):
            assert not bool(value.any())
        elif key.endswith("running_var"):
            assert bool((value == 1).all())


def test_the_seed_alone_decides_and_the_callers_random_state_stays() -> None:
    network, before = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), torch.get_rng_state()
    first, second, third = (randomize(copy.deepcopy(network), seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first["0.weight"], second["0.weight"])
    assert not torch.equal(first["0.weight"], third["0.weight"])
    assert not torch.equal(first["0.weight"], first["1.weight"])


def test_a_parameter_that_cannot_be_reset_becomes_noise_of_its_size_and_statistics_are_refused() -> None:
    transformer = nn.Identity()
    transformer.token = nn.Parameter(torch.full((1000,), 3.0))
    token = randomize(transformer, 0).token.detach()
    assert float(token.std()) == pytest.approx(3.0, rel=0.1)
    assert abs(float(token.mean())) < 0.4
    module = nn.Identity()
    module.register_buffer("running_mean", torch.ones(3))
    with pytest.raises(ValueError, match="cannot be reset"):
        randomize(nn.Sequential(module), 0)


def _explain(networks: list[nn.Module], randomized: bool) -> Any:
    explainer = IntegratedGradientsHandler(networks, n_steps=2)
    record = {"image": torch.rand(1, 32, 32, generator=torch.Generator().manual_seed(0)), "label": torch.zeros(14)}
    record["label"][EDEMA] = 1.0
    evaluator = EnsembleEvaluator(
        torch.device("cpu"),
        DataLoader(Dataset([record]), batch_size=1),
        networks,
        pred_keys=[f"pred_{number}" for number in range(len(networks))],
        val_handlers=[explainer, RandomizedExplainer(explainer, seed=3)] if randomized else [explainer],
        decollate=False,
    )
    evaluator.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: found.update(engine.state.output))
    found: dict[str, Any] = {}
    evaluator.run()
    return found


def test_randomized_maps_come_beside_the_real_ones_and_change_nothing_else() -> None:
    networks = [_resnet(), _resnet()]
    before = [{name: value.clone() for name, value in network.state_dict().items()} for network in networks]
    alone, both = _explain(networks, False), _explain(networks, True)
    assert set(both) - set(alone) == {"randomized_0", "randomized_1"}
    for name in ("attribution_0", "attribution_1", "completeness_error_0", "completeness_error_1"):
        assert torch.allclose(both[name], alone[name], equal_nan=True, atol=1e-6)
    for number, network in enumerate(networks):
        assert all(torch.equal(value, before[number][name]) for name, value in network.state_dict().items())
        assert float(both[f"randomized_{number}"][0, EDEMA].abs().sum()) > 0
    assert not torch.allclose(both["randomized_0"], both["randomized_1"])
    # of another committee they are the same: the parameters are drawn from the seed alone
    assert torch.equal(_explain([_resnet(), _resnet()], True)["randomized_0"], both["randomized_0"])
