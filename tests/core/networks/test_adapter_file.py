"""An adapter goes back onto the network that it was trained on, and onto no other."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from doll_monai.networks.adapter_file import load_adapter, save_adapter
from doll_monai.networks.adapters import AdaptedNetwork
from doll_monai.networks.weights import file_hash, save_weights
from doll_monai.utils.errors import InputError
from small_pspnet import small_pspnet


def test_the_file_holds_the_trained_part_and_where_it_belongs(pretrained: Path, tmp_path: Path) -> None:
    network = AdaptedNetwork(small_pspnet(), tuning="scale_shift", targets="decoder", reduction=3)
    save_adapter(network, tmp_path / "adapter.pt", pretrained)
    content = torch.load(tmp_path / "adapter.pt", weights_only=True)
    assert set(content.pop("model")) == {
        "network.decoder.1.adapter.scale",
        "network.decoder.1.adapter.shift",
        "network.head.weight",
        "network.head.bias",
    }
    assert content == {
        "pretrained_sha256": file_hash(pretrained),
        "tuning": "scale_shift",
        "settings": {"targets": ["decoder"], "reduction": 3, "rank": 4, "head": "head"},
    }


@pytest.mark.parametrize(
    ("classes", "other"),
    [(1, {"tuning": "head"}), (1, {"reduction": 2}), (1, {"targets": ["decoder"]}), (3, {})],
)
def test_another_declaration_is_refused_and_its_own_named(classes, other, pretrained: Path, tmp_path: Path) -> None:
    save_adapter(AdaptedNetwork(small_pspnet()), tmp_path / "adapter.pt", pretrained)
    network = AdaptedNetwork(small_pspnet(classes), **other)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(InputError, match=r"adapter\.pt belongs to another network .*: tuning adapter, .* reduction 8"):
        load_adapter(network, tmp_path / "adapter.pt", pretrained)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_settings_that_a_tuning_does_not_use_do_not_matter(pretrained: Path, tmp_path: Path) -> None:
    save_adapter(AdaptedNetwork(small_pspnet(), tuning="head", rank=2), tmp_path / "adapter.pt", pretrained)
    load_adapter(AdaptedNetwork(small_pspnet(), tuning="head", rank=8), tmp_path / "adapter.pt", pretrained)


@pytest.mark.parametrize(("trained", "given"), [("pretrained", "other"), ("pretrained", None), (None, "pretrained")])
def test_another_pretrained_checkpoint_is_refused_and_changes_nothing(
    trained: str | None, given: str | None, pretrained: Path, tmp_path: Path
) -> None:
    paths = {"pretrained": pretrained, "other": tmp_path / "other.pt", None: None}
    save_weights(small_pspnet(14).state_dict(), tmp_path / "other.pt")
    network = AdaptedNetwork(small_pspnet(), tuning="head")
    save_adapter(network, tmp_path / "adapter.pt", paths[trained])
    before = {name: value.clone() for name, value in network.state_dict().items()}
    own = f"the one with SHA-256 {file_hash(pretrained)}" if trained else "none"
    with pytest.raises(InputError, match=rf"adapter\.pt belongs to another pre-trained checkpoint than .*; give {own}"):
        load_adapter(network, tmp_path / "adapter.pt", paths[given])
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    load_adapter(network, tmp_path / "adapter.pt", paths[trained])


def test_a_network_trained_as_a_whole_has_no_adapter(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no adapter for .*adapter\.pt"):
        save_adapter(AdaptedNetwork(small_pspnet(), tuning="full"), tmp_path / "adapter.pt", None)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [{"model": {}, "pretrained_sha256": ""}, [1], {"tuning": 3}])
def test_other_files_are_refused(content, tmp_path: Path) -> None:
    save_weights(content, tmp_path / "adapter.pt")
    with pytest.raises(InputError, match=r"adapter\.pt is no adapter with model, pretrained_sha256, tuning, settings"):
        load_adapter(AdaptedNetwork(small_pspnet()), tmp_path / "adapter.pt", None)
