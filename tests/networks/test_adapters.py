"""Adapters start as the pre-trained network, and nothing but adapters and head ever moves."""

from __future__ import annotations

import pytest
import torch
from monai.networks.nets import ResNet, resnet18
from torch import nn

from doll_monai.networks import AdaptedNetwork, AdapterBlock, ConvAdapter, PSPNet, trainable_parameters


def _pspnet(out_channels: int = 1) -> PSPNet:
    backbone = ResNet(
        "basic",
        [1, 1, 1, 1],
        [8, 8, 16, 16],
        spatial_dims=2,
        n_input_channels=1,
        num_classes=14,
        conv1_t_stride=2,
        bias_downsample=False,
    )
    return PSPNet(backbone, out_channels, decoder_channels=16, dropout=0.5)


def _copy(network: nn.Module, out_channels: int = 1) -> PSPNet:
    copy = _pspnet(out_channels)
    copy.load_state_dict(network.state_dict())
    return copy


def _train(network: nn.Module, steps: int = 4) -> None:
    """A few steps, each behind a ``train()`` as engines call it."""
    optimizer = torch.optim.AdamW(trainable_parameters(network), lr=0.01)
    for _ in range(steps):
        network.train()
        optimizer.zero_grad()
        logits = network(torch.rand(2, 1, 48, 48))
        (logits - 1).square().mean().backward()
        optimizer.step()


def test_a_new_adapter_adds_nothing() -> None:
    x = torch.randn(2, 12, 5, 7)
    assert torch.equal(ConvAdapter(12, 4)(x), torch.zeros_like(x))


def test_the_adapted_network_starts_as_the_pretrained_one_to_the_last_bit() -> None:
    network = _pspnet(3).eval()
    adapted = AdaptedNetwork(_copy(network, 3)).eval()
    x = torch.rand(2, 1, 48, 48)
    with torch.no_grad():
        assert torch.equal(adapted(x), network(x))


@pytest.mark.parametrize("tuning", ["adapter", "head"])
def test_the_frozen_part_stays_in_evaluation_mode_whatever_train_says(tuning: str) -> None:
    adapted = AdaptedNetwork(_pspnet(), tuning=tuning).train()
    adapters = [module for module in adapted.modules() if isinstance(module, ConvAdapter)]
    trained = {id(part) for module in (*adapters, adapted.network.head) for part in module.modules()}
    for module in adapted.network.modules():
        assert module.training == (id(module) in trained)
    assert adapted.training
    assert not any(module.training for module in adapted.eval().modules())


@pytest.mark.parametrize("tuning", ["adapter", "head"])
def test_training_moves_adapters_and_head_alone(tuning: str) -> None:
    adapted = AdaptedNetwork(_pspnet(), tuning=tuning)
    before = {name: value.clone() for name, value in adapted.state_dict().items()}
    _train(adapted)
    after = adapted.state_dict()
    trainable = {name for name, parameter in adapted.named_parameters() if parameter.requires_grad}
    moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert moved == trainable
    assert {name for name in before if "running_" in name or "num_batches" in name}.isdisjoint(moved)


def test_output_in_train_mode_has_no_dropout() -> None:
    adapted = AdaptedNetwork(_pspnet()).train()
    x = torch.rand(2, 1, 48, 48)
    with torch.no_grad():
        assert torch.equal(adapted(x), adapted(x))


def test_only_adapters_and_head_require_gradients() -> None:
    adapted = AdaptedNetwork(_pspnet())
    names = {name for name, parameter in adapted.named_parameters() if parameter.requires_grad}
    assert names == {
        name for name, _ in adapted.named_parameters() if ".adapter." in name or name.startswith("network.head.")
    }
    blocks = [name for name, module in adapted.network.named_modules() if isinstance(module, AdapterBlock)]
    assert blocks == [f"backbone.layer{stage}.0" for stage in range(1, 5)] + ["decoder"]
    assert adapted.trainable_state_dict().keys() == names


def test_head_tuning_trains_the_head_alone() -> None:
    adapted = AdaptedNetwork(_pspnet(), tuning="head")
    assert {name for name, parameter in adapted.named_parameters() if parameter.requires_grad} == {
        "network.head.weight",
        "network.head.bias",
    }
    assert not any(isinstance(module, AdapterBlock) for module in adapted.modules())


def test_full_tuning_is_the_plain_network() -> None:
    network = _pspnet()
    adapted = AdaptedNetwork(_copy(network), tuning="full").train()
    assert all(parameter.requires_grad for parameter in adapted.parameters())
    assert all(module.training for module in adapted.modules())
    assert adapted.state_dict().keys() == {f"network.{name}" for name in network.state_dict()}
    before = adapted.network.backbone.bn1.running_mean.clone()
    _train(adapted, steps=1)
    assert not torch.equal(adapted.network.backbone.bn1.running_mean, before)


def test_adapters_of_a_resnet18_are_less_than_five_percent_of_its_parameters() -> None:
    backbone = resnet18(spatial_dims=2, n_input_channels=1, num_classes=14, conv1_t_stride=2, bias_downsample=False)
    adapted = AdaptedNetwork(PSPNet(backbone, 1))
    trained = sum(parameter.numel() for parameter in trainable_parameters(adapted))
    assert 0 < trained < 0.05 * sum(parameter.numel() for parameter in adapted.parameters())


def test_script_of_a_trained_adapted_network_gives_the_same_output() -> None:
    adapted = AdaptedNetwork(_pspnet())
    _train(adapted)
    adapted.eval()
    x = torch.rand(1, 1, 48, 48)
    with torch.no_grad():
        torch.testing.assert_close(torch.jit.script(adapted)(x), adapted(x), rtol=1e-5, atol=1e-5)


def test_inserting_adapters_leaves_weights_and_statistics_alone() -> None:
    network = _pspnet()
    adapted = AdaptedNetwork(_copy(network))
    state = {name.replace(".base.", "."): value for name, value in adapted.network.state_dict().items()}
    assert all(torch.equal(state[name], value) for name, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"tuning": "lora"}, "tuning must be one of"),
        ({"head": "classifier"}, "no module 'classifier'"),
        ({"targets": ["nowhere"]}, "No module of the network matches"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        AdaptedNetwork(_pspnet(), **arguments)
