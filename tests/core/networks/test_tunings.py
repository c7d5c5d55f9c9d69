"""What every tuning promises, whatever it trains."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from monai.networks.nets import FlexibleUNet, SegResNet, SwinUNETR, resnet18
from torch import nn

from doll_monai.networks.adapter_file import load_adapter, save_adapter
from doll_monai.networks.adapters import TUNINGS, AdaptedNetwork
from doll_monai.networks.parameters import count_parameters
from doll_monai.networks.pspnet import PSPNet
from doll_monai.networks.weights import load_pretrained, load_weights
from doll_monai.utils.errors import InputError

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

PARTIAL = [tuning for tuning in TUNINGS if tuning != "full"]
MERGED = [tuning for tuning in TUNINGS if tuning != "adapter"]


@pytest.fixture
def adapted(pspnet, pretrained: Path) -> Callable[..., AdaptedNetwork]:
    """A pre-trained network with one class, before training."""

    def build(tuning: str, **arguments) -> AdaptedNetwork:
        network = load_pretrained(AdaptedNetwork(pspnet(1), tuning=tuning, **arguments), pretrained)
        assert isinstance(network, AdaptedNetwork)
        return network

    return build


def _output(network: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return network.eval()(torch.linspace(0, 1, 2 * 48 * 48).reshape(2, 1, 48, 48))


def _state(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def _moved(before: dict[str, torch.Tensor], network: nn.Module) -> set[str]:
    return {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}


@pytest.mark.parametrize("tuning", TUNINGS)
class TestEveryTuning:
    def test_it_starts_as_the_pretrained_network_to_the_last_bit(self, tuning, pspnet, pretrained) -> None:
        network = load_weights(pspnet(14), pretrained)
        assert torch.equal(_output(AdaptedNetwork(copy.deepcopy(network), tuning=tuning)), _output(network))

    def test_it_starts_so_when_the_weights_are_loaded_afterwards(self, tuning, pspnet, pretrained) -> None:
        network = load_weights(pspnet(14), pretrained)
        later = load_pretrained(AdaptedNetwork(pspnet(14), tuning=tuning), pretrained)
        later.network.head.load_state_dict(network.head.state_dict())
        assert torch.equal(_output(later), _output(network))

    def test_training_moves_what_is_declared_and_nothing_else(self, tuning, adapted, train) -> None:
        network = adapted(tuning)
        before = _state(network)
        train(network)
        declared = {name for name, _ in network.named_parameters() if DECLARED[tuning](name) or name.startswith(HEAD)}
        statistics = {name for name in before if "running_" in name or "num_batches" in name}
        assert _moved(before, network) == declared | (statistics if tuning == "full" else set())

    def test_dropout_is_still_unless_everything_is_trained(self, tuning, adapted) -> None:
        network, x = adapted(tuning).train(), torch.rand(2, 1, 48, 48)
        with torch.no_grad():
            assert torch.equal(network(x), network(x)) == (tuning != "full")

    def test_its_checkpoint_loads_strictly_into_a_fresh_network(self, tuning, adapted, pspnet, train) -> None:
        network = adapted(tuning)
        train(network)
        fresh = AdaptedNetwork(pspnet(1), tuning=tuning)
        fresh.load_state_dict(network.state_dict())
        assert torch.equal(_output(fresh), _output(network))

    def test_a_script_gives_the_same_output(self, tuning, adapted, train) -> None:
        network = adapted(tuning)
        train(network)
        expected = _output(network)
        script = torch.jit.script(network.merge() if tuning == "lora" else network)
        torch.testing.assert_close(_output(script), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("tuning", PARTIAL)
class TestPartOfTheNetwork:
    def test_its_file_makes_a_fresh_network_the_same(
        self, tuning, adapted, pspnet, pretrained, train, tmp_path
    ) -> None:
        network = adapted(tuning)
        train(network)
        save_adapter(network, tmp_path / "adapter.pt", pretrained)
        fresh = load_adapter(AdaptedNetwork(pspnet(1), tuning=tuning), tmp_path / "adapter.pt", pretrained)
        assert torch.equal(_output(fresh), _output(network))

    def test_its_file_is_refused_on_another_checkpoint_and_changes_nothing(
        self, tuning, adapted, pspnet, pretrained, tmp_path
    ) -> None:
        torch.save(pspnet(14).state_dict(), tmp_path / "other.pt")
        save_adapter(adapted(tuning), tmp_path / "adapter.pt", pretrained)
        fresh = AdaptedNetwork(pspnet(1), tuning=tuning)
        before = _state(fresh)
        with pytest.raises(InputError, match=r"adapter\.pt belongs to another pre-trained checkpoint than .*other\.pt"):
            load_adapter(fresh, tmp_path / "adapter.pt", tmp_path / "other.pt")
        assert not _moved(before, fresh)

    def test_at_most_five_percent_of_a_resnet18_pspnet_are_trained(self, tuning) -> None:
        backbone = resnet18(spatial_dims=2, n_input_channels=1, num_classes=14, conv1_t_stride=2, bias_downsample=False)
        plain = PSPNet(backbone, 1)
        total = count_parameters(plain).total
        count = count_parameters(AdaptedNetwork(plain, tuning=tuning))
        added = 0 if tuning in ("bias", "head") else count.trainable - count_parameters(plain.head).total
        assert count.total == total + added
        assert 0 < count.trainable <= 0.05 * total
        assert str(count) == f"{count.trainable:,} of {count.total:,} parameters ({count.share:.2%})"


@pytest.mark.parametrize("tuning", MERGED)
def test_a_merged_network_is_the_plain_one_with_the_same_output(tuning, adapted, pspnet, train) -> None:
    network = adapted(tuning)
    train(network)
    expected = _output(network)
    merged = network.merge()
    plain = pspnet(1)
    plain.load_state_dict(merged.state_dict())
    assert [type(module) for module in merged.modules()] == [type(module) for module in plain.modules()]
    assert not any(module.training for module in merged.modules())
    assert all(parameter.requires_grad for parameter in merged.parameters())
    torch.testing.assert_close(_output(plain), expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(_output(network), expected), "merging changed the adapted network"


def test_bottlenecks_are_not_merged() -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 1, 1))
    with pytest.raises(InputError, match="'adapter' cannot be merged"):
        AdaptedNetwork(network, targets="0", head="1").merge()


OTHERS: dict[str, tuple[Callable[[], nn.Module], str, str]] = {
    "SegResNet": (
        lambda: SegResNet(2, init_filters=8, in_channels=1, out_channels=2),
        "conv_final",
        r"down_layers\.\d",
    ),
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
    assert set(adapted.pretrained_names().values()) == {
        weight for weight in network.state_dict() if not weight.startswith(f"{head}.")
    }
    with torch.no_grad():
        assert torch.equal(adapted(x), network(x))
        for parameter in adapted.parameters():
            if parameter.requires_grad and tuning != "full":
                parameter.add_(torch.randn_like(parameter), alpha=0.05)
        expected = adapted(x)
        assert torch.equal(expected, network(x)) == (tuning == "full")
        if tuning != "adapter":
            torch.testing.assert_close(adapted.merge()(x), expected, rtol=1e-3, atol=1e-3)
