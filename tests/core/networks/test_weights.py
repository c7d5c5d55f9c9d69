"""Checkpoints: whole or absent, and one sentence when they do not fit."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import IO

import pytest
import torch
from monai.networks.nets import ResNet
from torch import nn

from doll_monai.networks.adapters import AdaptedNetwork
from doll_monai.networks.parameters import parameter_groups
from doll_monai.networks.pspnet import PSPNet
from doll_monai.networks.weights import (
    file_hash,
    load_backbone,
    load_pretrained,
    load_weights,
    read_weights,
    save_weights,
)
from doll_monai.utils.errors import InputError


def _resnet(width: int = 8) -> nn.Module:
    return ResNet(
        "basic",
        [1, 1, 1, 1],
        [width] * 4,
        spatial_dims=2,
        n_input_channels=1,
        num_classes=14,
        conv1_t_stride=2,
        bias_downsample=False,
    )


def _pspnet(out_channels: int = 14, width: int = 8) -> PSPNet:
    return PSPNet(_resnet(width), out_channels, decoder_channels=8)


@pytest.fixture
def pretrained(tmp_path: Path) -> tuple[Path, PSPNet]:
    network = _pspnet(14)
    path = tmp_path / "pretrained.pt"
    save_weights(network.state_dict(), path)
    return path, network


@pytest.mark.parametrize("tuning", ["adapter", "head", "full"])
def test_pretrained_weights_are_loaded_but_for_adapters_and_head(pretrained, tuning: str) -> None:
    path, network = pretrained
    adapted = AdaptedNetwork(_pspnet(1), tuning=tuning)
    own = {name: value.clone() for name, value in adapted.state_dict().items()}
    load_pretrained(adapted, path)
    source = network.state_dict()
    for name, value in adapted.state_dict().items():
        if ".adapter." in name or ".head." in name:
            assert torch.equal(value, own[name])
        else:
            assert torch.equal(value, source[name.removeprefix("network.").replace(".base.", ".")])


def test_pretrained_weights_load_into_a_plain_network(pretrained) -> None:
    path, network = pretrained
    other = load_pretrained(_pspnet(3), path)
    assert torch.equal(other.decoder[0].weight, network.decoder[0].weight)
    assert other.head.weight.shape[0] == 3


def test_without_a_checkpoint_the_network_stays_as_it_is() -> None:
    network = _pspnet()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    load_backbone(load_pretrained(network, None), None)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_checkpoint_that_holds_the_weights_as_model_is_read(tmp_path: Path) -> None:
    network = _resnet()
    save_weights({"model": network.state_dict(), "epoch": 3}, tmp_path / "model.pt")
    loaded = load_weights(_resnet(), tmp_path / "model.pt")
    assert torch.equal(loaded.conv1.weight, network.conv1.weight)


LOADERS = [
    pytest.param(lambda path: load_weights(_resnet(), path), id="network"),
    pytest.param(lambda path: load_backbone(_pspnet(), path), id="backbone"),
    pytest.param(lambda path: load_pretrained(AdaptedNetwork(_pspnet(1)), path), id="pretrained"),
]


@pytest.mark.parametrize("load", LOADERS)
def test_another_networks_checkpoint_is_refused_with_file_and_weight(load, tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    save_weights(nn.Linear(2, 2).state_dict(), path)
    with pytest.raises(InputError, match=r"other\.pt belongs to another network.*the first is '.+'"):
        load(path)


@pytest.mark.parametrize("load", LOADERS)
def test_weights_of_another_width_are_refused(load, tmp_path: Path) -> None:
    path = tmp_path / "wide.pt"
    wide = _pspnet(14, width=16)
    save_weights({**wide.state_dict(), **_resnet(16).state_dict()}, path)
    with pytest.raises(InputError, match=r"wide\.pt"):
        load(path)


def test_a_refused_checkpoint_changes_nothing(tmp_path: Path) -> None:
    save_weights(_resnet(16).state_dict(), tmp_path / "wide.pt")
    network = _resnet()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(InputError, match=r"'conv1\.weight'"):
        load_weights(network, tmp_path / "wide.pt")
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_an_adapted_networks_checkpoint_is_not_taken_for_a_pretrained_one(tmp_path: Path) -> None:
    save_weights(AdaptedNetwork(_pspnet(1)).state_dict(), tmp_path / "adapted.pt")
    with pytest.raises(InputError, match=r"adapted\.pt belongs to another network"):
        load_pretrained(AdaptedNetwork(_pspnet(1)), tmp_path / "adapted.pt")


@pytest.mark.parametrize("load", LOADERS)
def test_a_missing_checkpoint_is_named(load, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"missing\.pt does not exist"):
        load(tmp_path / "missing.pt")


@pytest.mark.parametrize("load", LOADERS)
def test_a_truncated_checkpoint_is_named(load, tmp_path: Path) -> None:
    path = tmp_path / "short.pt"
    save_weights(_resnet().state_dict(), path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=r"short\.pt is not a checkpoint"):
        load(path)


def test_a_checkpoint_with_pickled_code_is_refused(tmp_path: Path) -> None:
    torch.save(_resnet(), tmp_path / "network.pt")
    with pytest.raises(InputError, match=r"network\.pt is not a checkpoint that can be read safely"):
        load_weights(_resnet(), tmp_path / "network.pt")


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, torch.zeros(2)])
def test_a_file_without_weights_is_named(content, tmp_path: Path) -> None:
    save_weights(content, tmp_path / "list.pt")
    with pytest.raises(InputError, match=r"list\.pt holds no network weights"):
        read_weights(tmp_path / "list.pt")


def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.pt"
    save_weights({"weight": torch.ones(2)}, path)
    before = path.read_bytes()

    def fail(_content: object, file: IO[bytes]) -> None:
        file.write(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="no space left"):
        save_weights({"weight": torch.zeros(2)}, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_saving_makes_the_folder_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    save_weights({"weight": torch.ones(2)}, tmp_path / "a" / "b" / "model.pt")
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["model.pt"]


def test_file_hash_is_sha256(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 3_000_000)
    assert file_hash(tmp_path / "file") == hashlib.sha256(b"x" * 3_000_000).hexdigest()


def test_parameter_groups_give_each_part_its_rate_and_leave_out_frozen_parameters() -> None:
    network = _pspnet()
    network.decoder.requires_grad_(False)
    groups = parameter_groups(network, {"backbone": 0.1}, 1.0)
    assert [group["lr"] for group in groups] == [0.1, 1.0]
    assert {id(p) for p in groups[0]["params"]} == {id(p) for p in network.backbone.parameters()}
    assert {id(p) for p in groups[1]["params"]} == {
        id(p) for part in (network.pyramid, network.head) for p in part.parameters()
    }


def test_the_same_weights_give_the_same_bytes(tmp_path: Path) -> None:
    network = _resnet()
    save_weights(network.state_dict(), tmp_path / "one.pt")
    save_weights(network.state_dict(), tmp_path / "other.pt")
    assert (tmp_path / "one.pt").read_bytes() == (tmp_path / "other.pt").read_bytes()
