"""Where each tuning puts what it trains; what all have in common is in ``test_tunings.py``."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import nn

from doll_monai.networks.adapters import AdaptedNetwork, AdapterBlock, ScaleShift
from doll_monai.utils.errors import InputError
from small_pspnet import small_pspnet

KEYS = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation")


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


def _trained(adapted: AdaptedNetwork) -> set[str]:
    """Trained parameters outside the head."""
    names = {name for name, parameter in adapted.named_parameters() if parameter.requires_grad}
    return {name.removeprefix("network.") for name in names if not name.startswith("network.head.")}


def _blocks(adapted: AdaptedNetwork) -> list[str]:
    return [name for name, module in adapted.network.named_modules() if isinstance(module, AdapterBlock)]


def test_scale_and_shift_are_those_of_a_channel() -> None:
    module, x = ScaleShift((2, 1, 1)), torch.ones(1, 2, 3, 3)
    module.load_state_dict({"scale": torch.tensor([[[1.0]], [[2.0]]]), "shift": torch.tensor([[[0.5]], [[-4.0]]])})
    assert module(x)[0, :, 1, 1].tolist() == [1.5, -2.0]


def test_bottlenecks_are_behind_blocks_and_decoder_of_a_pspnet_or_where_they_are_wanted() -> None:
    assert _blocks(AdaptedNetwork(small_pspnet())) == [
        *(f"backbone.layer{stage}.0" for stage in range(1, 5)),
        "decoder",
    ]
    adapted = AdaptedNetwork(small_pspnet(), targets=r"pyramid\.branches\.\d|pyramid", reduction=2)
    assert _blocks(adapted) == ["pyramid", *(f"pyramid.base.branches.{branch}" for branch in range(4))]
    assert adapted.network.pyramid.adapter.down.weight.shape == (16, 32, 1, 1)


def test_every_normalization_but_the_heads_is_scaled_and_shifted() -> None:
    adapted = AdaptedNetwork(Blocks(), tuning="scale_shift")
    assert _blocks(adapted) == ["batch", "instance", "group", "layer"]
    x = torch.rand(2, 1, 8, 8)
    before = adapted(x)
    for name in _blocks(adapted):
        adapted.network.get_submodule(name).adapter.shift.data.fill_(1.0)
    assert not torch.allclose(adapted(x), before)


def test_a_correction_of_low_rank_is_that_of_the_convolution_that_it_corrects() -> None:
    """Convolutions that peft cannot do get none; one with stride and dilation gets them too, which peft forgets."""
    pytest.importorskip("peft")
    adapted = AdaptedNetwork(Blocks(), tuning="lora", rank=3)
    assert {name.partition(".")[0] for name in _trained(adapted)} == {"plain", "dilated"}
    x = torch.randn(2, 4, 12, 12)
    for name, layer in (("plain", adapted.network.plain), ("dilated", adapted.network.dilated)):
        first, second = layer.lora_A["default"], layer.lora_B["default"]
        assert first.weight.shape == (3, 1 if name == "plain" else 4, 3, 3)
        nn.init.normal_(second.weight)
        merged = nn.Conv2d(**{key: getattr(layer.base_layer, key) for key in KEYS})
        change = torch.einsum("or,rihw->oihw", second.weight[:, :, 0, 0], first.weight)
        merged.load_state_dict({"weight": layer.base_layer.weight + change, "bias": layer.base_layer.bias})
        given = x[:, : merged.in_channels]
        torch.testing.assert_close(layer(given), merged(given), rtol=1e-4, atol=1e-5)


def test_targets_name_convolutions_or_what_holds_them() -> None:
    pytest.importorskip("peft")
    adapted = AdaptedNetwork(small_pspnet(), tuning="lora", targets=[r"backbone\.layer4", r"decoder\.0"])
    places = {name.partition(".lora_")[0] for name in _trained(adapted)}
    assert places == {"decoder.0", *(f"backbone.layer4.0.{name}" for name in ("conv1", "conv2", "downsample.0"))}


def test_biases_in_targets_are_trained() -> None:
    adapted = AdaptedNetwork(Blocks(), tuning="bias", targets=["batch", "dilated"])
    assert _trained(adapted) == {"batch.bias", "dilated.bias"}
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
        ({"targets": ["nowhere"]}, "no module in"),
        ({"targets": ["nowhere"], "tuning": "lora"}, "no convolution in"),
        ({"targets": ["nowhere"], "tuning": "scale_shift"}, "no normalization in"),
        ({"targets": ["nowhere"], "tuning": "bias"}, "no bias in"),
        ({"targets": ["(decoder"]}, "no regular expression"),
        ({"targets": "dropout", "reduction": 0}, "reduction and rank must be 1 or more"),
        ({"targets": "conv"}, "'conv' does not turn one input into features"),
        ({"tuning": "lora"}, r"pip install 'doll-monai\[lora\]'"),
    ],
    ids=str,
)
def test_wrong_arguments_are_refused(arguments: dict, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if sentence.startswith("pip"):
        monkeypatch.setitem(sys.modules, "peft", None)
    network = small_pspnet()
    network.conv = nn.Conv2d(2, 2, 3)  # never run
    with pytest.raises(InputError, match=sentence):
        AdaptedNetwork(network, **arguments)
