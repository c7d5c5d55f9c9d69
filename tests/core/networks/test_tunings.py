"""What every tuning promises, whatever it trains."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from monai.networks.nets import FlexibleUNet, SegResNet, SwinUNETR, resnet18
from torch import nn

from doll_monai.networks.adapters import TUNINGS, AdaptedNetwork
from doll_monai.networks.parameters import count_parameters
from doll_monai.networks.pspnet import PSPNet
from doll_monai.networks.weights import load_adapter, load_pretrained, load_weights, save_adapter
from small_pspnet import small_pspnet, train

HEAD = "network.head."

DECLARED: dict[str, Callable[[str], bool]] = {
    "adapter": lambda name: ".adapter." in name,
    "lora": lambda name: ".lora_A." in name or ".lora_B." in name,
    "scale_shift": lambda name: name.endswith((".adapter.scale", ".adapter.shift")),
    "bias": lambda name: name.endswith(".bias"),
    "head": lambda name: False,
    "full": lambda name: True,
}
"""The parameters that a tuning trains beside the head."""


@pytest.fixture(autouse=True)
def _peft(request: pytest.FixtureRequest) -> None:
    if "lora" in request.node.name:
        pytest.importorskip("peft")


def _adapted(tuning: str, pretrained: Path) -> AdaptedNetwork:
    """A pre-trained network with one class, before training."""
    network = AdaptedNetwork(small_pspnet(1), tuning=tuning)
    load_pretrained(network, pretrained)
    return network


def _output(network: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return network.eval()(torch.linspace(0, 1, 2 * 48 * 48).reshape(2, 1, 48, 48))


@pytest.mark.parametrize("tuning", TUNINGS)
class TestEveryTuning:
    def test_it_begins_as_the_pretrained_network_to_the_last_bit(self, tuning: str, pretrained: Path) -> None:
        """Whether the weights are there when the adapters are inserted, or are loaded afterwards."""
        network = load_weights(small_pspnet(14), pretrained)
        later = load_pretrained(AdaptedNetwork(small_pspnet(14), tuning=tuning), pretrained)
        later.network.head.load_state_dict(network.head.state_dict())
        assert torch.equal(_output(AdaptedNetwork(copy.deepcopy(network), tuning=tuning)), _output(network))
        assert torch.equal(_output(later), _output(network))

    def test_training_moves_what_is_declared_and_nothing_else(self, tuning: str, pretrained: Path) -> None:
        network = _adapted(tuning, pretrained)
        before = {name: value.clone() for name, value in network.state_dict().items()}
        train(network)
        declared = {name for name, _ in network.named_parameters() if DECLARED[tuning](name) or name.startswith(HEAD)}
        statistics = {name for name in before if "running_" in name or "num_batches" in name}
        moved = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
        assert moved == declared | (statistics if tuning == "full" else set())

    def test_dropout_is_still_unless_everything_is_trained(self, tuning: str, pretrained: Path) -> None:
        network, x = _adapted(tuning, pretrained).train(), torch.rand(2, 1, 48, 48)
        assert network.training
        with torch.no_grad():
            assert torch.equal(network(x), network(x)) == (tuning != "full")

    def test_its_files_make_a_fresh_network_the_same(self, tuning: str, pretrained: Path, tmp_path: Path) -> None:
        network = _adapted(tuning, pretrained)
        train(network)
        expected = _output(network)
        fresh = AdaptedNetwork(small_pspnet(1), tuning=tuning)
        fresh.load_state_dict(network.state_dict())
        assert torch.equal(_output(fresh), expected)
        if tuning != "full":
            save_adapter(network, tmp_path / "adapter.pt", pretrained)
            fresh = AdaptedNetwork(small_pspnet(1), tuning=tuning)
            assert torch.equal(_output(load_adapter(fresh, tmp_path / "adapter.pt", pretrained)), expected)
        if tuning != "lora":  # peft's layers cannot be scripted
            torch.testing.assert_close(_output(torch.jit.script(network)), expected, rtol=1e-4, atol=1e-5)

    def test_at_most_five_percent_of_a_resnet18_pspnet_are_trained(self, tuning: str) -> None:
        backbone = resnet18(spatial_dims=2, n_input_channels=1, num_classes=14, conv1_t_stride=2, bias_downsample=False)
        plain = PSPNet(backbone, 1)
        total = count_parameters(plain).total
        count = count_parameters(AdaptedNetwork(plain, tuning=tuning))
        added = count.total - total
        assert (added > 0) == (tuning in ("adapter", "lora", "scale_shift"))
        assert 0 < count.trainable <= (0.05 if tuning != "full" else 1) * total


OTHERS: dict[str, tuple[Callable[[], nn.Module], str, str]] = {
    "SegResNet": (lambda: SegResNet(2, 8, in_channels=1, out_channels=2), "conv_final", r"down_layers\.\d"),
    "FlexibleUNet": (
        lambda: FlexibleUNet(1, 2, "resnet10", decoder_channels=(16, 16, 8, 8, 8)),
        "segmentation_head",
        r"encoder\.layer\d\.0|decoder\.blocks\.\d\.convs",
    ),
    "SwinUNETR": (
        lambda: SwinUNETR(1, 2, spatial_dims=2, feature_size=12, depths=(1, 1, 1, 1), num_heads=(1, 2, 4, 4)),
        "out",
        r"encoder\d+|decoder\d\.conv_block",
    ),
}
"""Networks of MONAI, their heads and places for bottlenecks: modules that take one input."""


@pytest.mark.parametrize("tuning", TUNINGS)
@pytest.mark.parametrize("name", OTHERS)
def test_other_networks_are_tuned_alike(name: str, tuning: str) -> None:
    if name == "SwinUNETR":
        pytest.importorskip("einops")
    build, head, targets = OTHERS[name]
    network, x = build().eval(), torch.rand(1, 1, 64, 64)
    adapted = AdaptedNetwork(
        copy.deepcopy(network), tuning=tuning, head=head, targets=targets if tuning == "adapter" else None
    ).eval()
    assert set(adapted.pretrained_names.values()) == {
        weight for weight in network.state_dict() if not weight.startswith(f"{head}.")
    }
    with torch.no_grad():
        assert torch.equal(adapted(x), network(x))
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter), alpha=0.05)
        assert not torch.equal(adapted(x), network(x))
