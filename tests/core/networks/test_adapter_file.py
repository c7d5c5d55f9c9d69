"""An adapter goes back onto the network that it was trained on, and onto no other."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from doll_monai.networks.adapter_file import load_adapter, save_adapter
from doll_monai.networks.adapters import AdaptedNetwork
from doll_monai.networks.weights import file_hash, save_weights
from doll_monai.utils.errors import InputError


def test_the_file_holds_the_trained_part_and_where_it_belongs(pspnet, pretrained: Path, tmp_path: Path) -> None:
    network = AdaptedNetwork(pspnet(), tuning="scale_shift", targets="decoder", reduction=3)
    save_adapter(network, tmp_path / "adapter.pt", pretrained)
    content = torch.load(tmp_path / "adapter.pt", weights_only=True)
    assert content.keys() == {"model", "pretrained_sha256", "tuning", "settings"}
    assert set(content["model"]) == {
        "network.decoder.1.adapter.scale",
        "network.decoder.1.adapter.shift",
        "network.head.weight",
        "network.head.bias",
    }
    assert content["pretrained_sha256"] == file_hash(pretrained)
    assert content["tuning"] == "scale_shift"
    assert content["settings"] == {"head": "head", "targets": ["decoder"]}


@pytest.mark.parametrize(
    ("other", "classes", "sentence"),
    [
        ({"tuning": "head"}, 1, "was trained with tuning adapter, network_def has head"),
        ({"reduction": 4}, 1, "was trained with reduction 8, network_def has 4"),
        ({"targets": ["decoder"]}, 1, r"was trained with targets \['backbone.*, network_def has \['decoder'\]"),
        ({}, 3, r"belongs to another network than network_def: 2 trained weights differ.*'network\.head\.weight'"),
    ],
)
def test_another_declaration_is_refused(other, classes, sentence, pspnet, pretrained, tmp_path: Path) -> None:
    save_adapter(AdaptedNetwork(pspnet()), tmp_path / "adapter.pt", pretrained)
    with pytest.raises(InputError, match=rf"adapter\.pt {sentence}"):
        load_adapter(AdaptedNetwork(pspnet(classes), **other), tmp_path / "adapter.pt", pretrained)


def test_settings_that_a_tuning_does_not_use_do_not_matter(pspnet, pretrained: Path, tmp_path: Path) -> None:
    save_adapter(AdaptedNetwork(pspnet(), tuning="head", rank=2), tmp_path / "adapter.pt", pretrained)
    load_adapter(AdaptedNetwork(pspnet(), tuning="head", rank=8), tmp_path / "adapter.pt", pretrained)


def test_an_adapter_without_a_pretrained_checkpoint_is_refused_on_one(pspnet, pretrained: Path, tmp_path: Path) -> None:
    network = AdaptedNetwork(pspnet(), tuning="head")
    save_adapter(network, tmp_path / "adapter.pt", None)
    load_adapter(network, tmp_path / "adapter.pt", None)
    with pytest.raises(InputError, match=r"another pre-trained checkpoint than .*; give none"):
        load_adapter(network, tmp_path / "adapter.pt", pretrained)


def test_an_adapter_of_a_checkpoint_is_refused_without_it(pspnet, pretrained: Path, tmp_path: Path) -> None:
    network = AdaptedNetwork(pspnet(), tuning="head")
    save_adapter(network, tmp_path / "adapter.pt", pretrained)
    with pytest.raises(InputError, match=f"than None; give the one with SHA-256 {file_hash(pretrained)}"):
        load_adapter(network, tmp_path / "adapter.pt", None)


def test_a_network_trained_as_a_whole_has_no_adapter(pspnet, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no adapter for .*adapter\.pt"):
        save_adapter(AdaptedNetwork(pspnet(), tuning="full"), tmp_path / "adapter.pt", None)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [{"model": {}, "pretrained_sha256": ""}, [1], {"tuning": 3}])
def test_other_files_are_refused(content, pspnet, tmp_path: Path) -> None:
    save_weights(content, tmp_path / "adapter.pt")
    with pytest.raises(InputError, match=r"adapter\.pt is no adapter with model, pretrained_sha256, tuning, settings"):
        load_adapter(AdaptedNetwork(pspnet()), tmp_path / "adapter.pt", None)
