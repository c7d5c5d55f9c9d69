"""Where each tuning puts what it trains; what all have in common is in ``test_tunings.py``."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import nn

from doll_monai.networks.adapters import AdaptedNetwork
from doll_monai.networks.conv_adapter import AdapterBlock, ConvAdapter
from doll_monai.networks.lora import lora_layers
from doll_monai.networks.scale_shift import ScaleShift
from doll_monai.utils.errors import InputError


class Blocks(nn.Sequential):
    """Convolutions and normalizations of every kind, and a head called ``head``."""

    def __init__(self) -> None:
        super().__init__()
        self.plain = nn.Conv2d(1, 4, 3, padding=1)
        self.batch = nn.BatchNorm2d(4)
        self.dilated = nn.Conv2d(4, 4, 3, padding=2, dilation=2, stride=2)
        self.instance = nn.InstanceNorm2d(4)
        self.grouped = nn.Conv2d(4, 4, 3, padding=1, groups=4)
        self.group = nn.GroupNorm(2, 4)
        self.mirrored = nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect")
        self.layer = nn.LayerNorm(4)
        self.head = nn.Sequential(nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.instance(self.dilated(self.batch(self.plain(x))))
        x = self.mirrored(self.group(self.grouped(x)))
        return self.head(self.layer(x.movedim(1, -1)).movedim(-1, 1))


def _trainable(adapted: AdaptedNetwork) -> set[str]:
    return {name for name, parameter in adapted.named_parameters() if parameter.requires_grad}


def _randomize(adapted: AdaptedNetwork) -> None:
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.normal_()


def _blocks(adapted: AdaptedNetwork) -> list[str]:
    return [name for name, module in adapted.network.named_modules() if isinstance(module, AdapterBlock)]


def test_a_new_adapter_adds_nothing() -> None:
    x = torch.randn(2, 12, 5, 7)
    assert torch.equal(ConvAdapter(12, 4)(x), torch.zeros_like(x))
    assert torch.equal(ScaleShift((12, 1, 1))(x), torch.zeros_like(x))


def test_scale_and_shift_are_those_of_a_channel() -> None:
    module, x = ScaleShift((2, 1, 1)), torch.ones(1, 2, 3, 3)
    with torch.no_grad():
        module.scale.copy_(torch.tensor([1.0, 2.0]).view(2, 1, 1))
        module.shift.copy_(torch.tensor([0.5, -4.0]).view(2, 1, 1))
    assert module(x)[0, :, 1, 1].tolist() == [1.5, -2.0]


@pytest.mark.parametrize("tuning", ["adapter", "head"])
def test_the_frozen_part_stays_in_evaluation_mode_whatever_train_says(tuning: str, pspnet) -> None:
    adapted = AdaptedNetwork(pspnet(), tuning=tuning).train()
    adapters = [module for module in adapted.modules() if isinstance(module, ConvAdapter)]
    trained = {id(part) for module in (*adapters, adapted.network.head) for part in module.modules()}
    for module in adapted.network.modules():
        assert module.training == (id(module) in trained)
    assert adapted.training
    assert not any(module.training for module in adapted.eval().modules())


def test_bottlenecks_are_behind_blocks_and_decoder_of_a_pspnet(pspnet) -> None:
    adapted = AdaptedNetwork(pspnet())
    assert _blocks(adapted) == [f"backbone.layer{stage}.0" for stage in range(1, 5)] + ["decoder"]
    assert adapted.trainable_state_dict().keys() == _trainable(adapted)


def test_places_and_width_of_bottlenecks_are_arguments(pspnet) -> None:
    adapted = AdaptedNetwork(pspnet(), targets=r"pyramid\.branches\.\d|pyramid", reduction=2)
    assert _blocks(adapted) == ["pyramid", *(f"pyramid.base.branches.{branch}" for branch in range(4))]
    assert adapted.network.pyramid.adapter.down.weight.shape == (16, 32, 1, 1)


def test_full_tuning_is_the_plain_network(pspnet) -> None:
    network = pspnet()
    adapted = AdaptedNetwork(network, tuning="full").train()
    assert all(parameter.requires_grad for parameter in adapted.parameters())
    assert all(module.training for module in adapted.modules())
    assert adapted.state_dict().keys() == {f"network.{name}" for name in network.state_dict()}


def test_inserting_adapters_leaves_weights_and_statistics_alone(pspnet) -> None:
    network = pspnet().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    adapted = AdaptedNetwork(network)
    after, names = adapted.state_dict(), adapted.pretrained_names()
    assert set(names.values()) == {name for name in before if not name.startswith("head.")}
    assert all(torch.equal(after[name], before[plain]) for name, plain in names.items())


def test_convolutions_that_peft_cannot_do_get_no_correction() -> None:
    adapted = AdaptedNetwork(Blocks(), tuning="lora", rank=3)
    assert list(lora_layers(adapted.network)) == ["plain", "dilated"]
    assert adapted.network.plain.lora_A["default"].weight.shape == (3, 1, 3, 3)
    assert not hasattr(adapted.network, "peft_config")


def test_targets_name_convolutions_or_what_holds_them(pspnet) -> None:
    adapted = AdaptedNetwork(pspnet(), tuning="lora", targets=[r"backbone\.layer4", r"decoder\.0"])
    layers = set(lora_layers(adapted.network))
    assert "decoder.0" in layers
    assert {name for name in layers if not name.startswith("backbone.layer4.")} == {"decoder.0"}
    assert len(layers) > 2


@pytest.mark.parametrize("tuning", ["lora", "scale_shift", "bias"])
def test_every_kind_of_layer_is_merged(tuning: str) -> None:
    adapted = AdaptedNetwork(Blocks(), tuning=tuning).eval()
    x = torch.randn(2, 1, 12, 12)
    before = adapted(x)
    _randomize(adapted)
    after = adapted(x)
    assert not torch.allclose(before, after)
    torch.testing.assert_close(adapted.merge()(x), after, rtol=1e-4, atol=1e-4)


def test_every_normalization_but_the_heads_is_scaled_and_shifted() -> None:
    adapted = AdaptedNetwork(Blocks(), tuning="scale_shift")
    assert _blocks(adapted) == ["batch", "instance", "group", "layer"]


def test_biases_in_targets_are_trained() -> None:
    adapted = AdaptedNetwork(Blocks(), tuning="bias", targets=["batch", "dilated"])
    body = {name for name in _trainable(adapted) if ".head." not in name}
    assert body == {"network.batch.bias", "network.dilated.bias"}
    assert adapted.network.head.training
    assert not adapted.network.batch.training


def test_statistics_of_the_head_belong_to_its_adapter() -> None:
    state = AdaptedNetwork(Blocks(), tuning="head").trainable_state_dict()
    assert {"network.head.0.running_mean", "network.head.0.weight", "network.head.1.bias"} < set(state)
    assert all(name.startswith("network.head.") for name in state)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"tuning": "linear"}, "tuning must be one of adapter, lora"),
        ({"head": "classifier"}, "no module 'classifier'"),
        ({"targets": ["nowhere"]}, "No module of the network matches"),
        ({"targets": ["nowhere"], "tuning": "lora"}, "no convolution in"),
        ({"targets": ["nowhere"], "tuning": "scale_shift"}, "no normalization in"),
        ({"targets": ["nowhere"], "tuning": "bias"}, "no bias in"),
        ({"targets": ["(decoder"]}, "no regular expression"),
        ({"targets": [r"dropout|head"], "reduction": 0}, "reduction and rank must be 1 or more"),
        ({"tuning": "lora", "rank": 0}, "reduction and rank must be 1 or more"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict, sentence: str, pspnet) -> None:
    with pytest.raises(InputError, match=sentence):
        AdaptedNetwork(pspnet(), **arguments)


def test_a_module_without_features_is_no_place_for_a_bottleneck() -> None:
    network = nn.Module()
    network.conv, network.unused, network.head = nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3), nn.Conv2d(2, 1, 1)
    network.forward = lambda x: network.head(network.conv(x))
    with pytest.raises(InputError, match="'unused' does not turn one input into features"):
        AdaptedNetwork(network, targets="unused")


def test_lora_says_what_to_install(pspnet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(InputError, match=r"pip install 'doll-monai\[lora\]'"):
        AdaptedNetwork(pspnet(), tuning="lora")
