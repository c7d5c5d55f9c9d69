"""Checkpoints: whole or absent, each weight to the bit from where it should be, one sentence when one does not fit."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from monai.networks.nets import resnet18
from torch import nn

from doll_monai.networks.adapters import AdaptedNetwork
from doll_monai.networks.pspnet import PSPNet
from doll_monai.networks.weights import (
    file_hash,
    load_adapter,
    load_backbone,
    load_pretrained,
    load_weights,
    read_weights,
    save_adapter,
    save_weights,
)
from doll_monai.utils.errors import InputError
from small_pspnet import small_pspnet, small_resnet

State = dict[str, torch.Tensor]


def _state(network: nn.Module) -> State:
    return {name: value.clone() for name, value in network.state_dict().items()}


def _assert_same(first: State, second: State) -> None:
    assert first.keys() == second.keys()
    assert [name for name, value in first.items() if not torch.equal(value, second[name])] == []


def _save(content: object, path: Path) -> Path:
    save_weights(content, path)
    return path


LOADERS = [
    pytest.param(lambda path: load_weights(small_resnet(), path), id="network"),
    pytest.param(lambda path: load_backbone(small_pspnet(), path), id="backbone"),
    pytest.param(lambda path: load_pretrained(small_pspnet(), path), id="pretrained"),
    pytest.param(lambda path: load_pretrained(AdaptedNetwork(small_pspnet()), path), id="adapted"),
]
NAN = torch.tensor([0.0, float("nan")])
WIDE = {**small_pspnet(14, width=16).state_dict(), **small_resnet(16).state_dict()}


@pytest.mark.parametrize("load", LOADERS)
@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (nn.Linear(2, 2).state_dict(), r"belongs to another network than network_def: \d+ weights differ, the first"),
        (WIDE, "belongs to another network than network_def"),
        (AdaptedNetwork(small_pspnet()).state_dict(), "belongs to another network than network_def"),
        (
            {**small_resnet().state_dict(), "bn1.bias": NAN},
            r"holds weights that are not a number, the first in 'bn1\.bias'",
        ),
        ([1, 2], "holds no network weights"),
        ({"epoch": 3}, "holds no network weights"),
        (small_resnet(), "is not a checkpoint that can be read safely"),
        (None, "does not exist; train the network first"),
    ],
    ids=["other", "wide", "adapted", "nan", "list", "no-tensors", "pickled", "missing"],
)
def test_a_checkpoint_that_does_not_fit_is_explained(load, content: object, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "given.pt"
    if content is not None:
        torch.save(content, path)
    with pytest.raises(InputError, match=rf"given\.pt {sentence}"):
        load(path)


def test_a_wide_or_truncated_checkpoint_is_named_and_changes_nothing(tmp_path: Path) -> None:
    path, network = _save(small_resnet(16).state_dict(), tmp_path / "given.pt"), small_resnet()
    before = _state(network)
    with pytest.raises(InputError, match=r"'bn1\.bias'"):
        load_weights(network, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=r"given\.pt is not a checkpoint"):
        load_weights(network, path)
    _assert_same(network.state_dict(), before)


def test_a_checkpoint_that_holds_the_weights_as_model_is_read(tmp_path: Path) -> None:
    network = small_resnet()
    path = _save({"model": network.state_dict(), "epoch": 3}, tmp_path / "model.pt")
    _assert_same(load_weights(small_resnet(), path).state_dict(), network.state_dict())
    _assert_same(dict(read_weights(path)), network.state_dict())


@pytest.mark.parametrize("tuning", ["adapter", "head", "full", None])
@pytest.mark.parametrize("wrapped", [False, True])
def test_pretrained_weights_are_loaded_but_for_adapters_and_head(tuning, wrapped: bool, tmp_path: Path) -> None:
    """From the checkpoint of a plain network, or of one trained as a whole, into an adapted network or a plain one."""
    pretrained = small_pspnet(14)
    source = _state(pretrained)
    saved = AdaptedNetwork(pretrained, tuning="full") if wrapped else pretrained
    path = _save(saved.state_dict(), tmp_path / "pretrained.pt")
    network = small_pspnet(1) if tuning is None else AdaptedNetwork(small_pspnet(1), tuning=tuning)
    own = _state(network)
    load_pretrained(network, path)
    for name, value in network.state_dict().items():
        plain = name.removeprefix("network.").replace(".base.", ".")
        assert torch.equal(value, own[name] if ".adapter." in name or "head." in name else source[plain]), name


OPTIONS = {"spatial_dims": 2, "conv1_t_stride": 2, "bias_downsample": False}


@pytest.mark.parametrize("counters", [True, False])
def test_a_resnet_of_color_images_becomes_the_backbone_in_gray(counters: bool, tmp_path: Path) -> None:
    """MONAI's ResNet with these options has torchvision's names and shapes."""
    weights = _state(resnet18(**OPTIONS, n_input_channels=3, num_classes=1000))
    weights = {name: value for name, value in weights.items() if counters or "num_batches" not in name}
    network = PSPNet(resnet18(**OPTIONS, n_input_channels=1), 1, decoder_channels=8)
    path, before = _save(weights, tmp_path / "resnet18.pth"), _state(network)
    load_backbone(network, path)
    gray = {**weights, "conv1.weight": weights["conv1.weight"].sum(1, keepdim=True)}
    expected = {**before, **{f"backbone.{name}": value for name, value in gray.items() if not name.startswith("fc.")}}
    _assert_same(network.state_dict(), expected)
    image = torch.rand(1, 1, 32, 32)
    color = nn.functional.conv2d(image.expand(-1, 3, -1, -1), weights["conv1.weight"], stride=2, padding=3)
    torch.testing.assert_close(network.backbone.conv1(image), color)


@pytest.mark.parametrize("source", ["classifier", "committee", "network", "trained_as_a_whole"])
def test_a_backbone_comes_from_whatever_has_one(source: str, tmp_path: Path) -> None:
    classifier, other = small_resnet().state_dict(), small_pspnet(14)
    content = {
        "classifier": classifier,
        "committee": {f"members.1.{name}": value for name, value in classifier.items()},
        "network": other.state_dict(),
        "trained_as_a_whole": AdaptedNetwork(other, tuning="full").state_dict(),
    }[source]
    path, network = _save(content, tmp_path / "source.pt"), small_pspnet()
    own = {name: value for name, value in _state(network).items() if not name.startswith("backbone.")}
    load_backbone(network, path, 1 if source == "committee" else None)
    expected = other.backbone.state_dict() if source in ("network", "trained_as_a_whole") else classifier
    loaded = {f"backbone.{name}": value for name, value in expected.items() if not name.startswith("fc.")}
    _assert_same(network.state_dict(), own | loaded)


@pytest.mark.parametrize("member", [None, 3])
def test_a_committees_member_must_be_named_and_the_network_have_a_backbone(member: int | None, tmp_path: Path) -> None:
    path = _save({f"members.{number}.conv1.weight": torch.zeros(1) for number in (0, 1)}, tmp_path / "committee.pt")
    with pytest.raises(InputError, match=r"is a committee's; give the number of a member: 0, 1\."):
        load_backbone(small_pspnet(), path, member)
    with pytest.raises(InputError, match="network_def has no backbone"):
        load_backbone(nn.Conv2d(1, 1, 1), path, 0)


def test_the_same_weights_give_the_same_bytes_in_a_folder_that_is_made(tmp_path: Path) -> None:
    network = small_resnet()
    first = _save(network.state_dict(), tmp_path / "a" / "b" / "one.pt")
    assert first.read_bytes() == _save(network.state_dict(), tmp_path / "other.pt").read_bytes()
    assert list(first.parent.iterdir()) == [first]
    assert file_hash(first) == hashlib.sha256(first.read_bytes()).hexdigest()


def test_settings_that_a_tuning_does_not_use_do_not_matter_to_its_adapter(pretrained: Path, tmp_path: Path) -> None:
    save_adapter(AdaptedNetwork(small_pspnet(), tuning="head", rank=2), tmp_path / "adapter.pt", pretrained)
    load_adapter(AdaptedNetwork(small_pspnet(), tuning="head", rank=8), tmp_path / "adapter.pt", pretrained)


@pytest.mark.parametrize(
    ("trained", "given", "classes", "other", "sentence"),
    [
        ("one", "one", 1, {"tuning": "head"}, "another network .*: tuning adapter, .* reduction 8"),
        ("one", "one", 1, {"reduction": 2}, "another network .*: tuning adapter, .* reduction 8"),
        ("one", "one", 1, {"targets": ["decoder"]}, "another network .*: tuning adapter, .* reduction 8"),
        ("one", "one", 3, {}, "another network .*: tuning adapter, .* reduction 8"),
        ("one", "other", 1, {}, "another pre-trained checkpoint than .*; give the one with SHA-256 [0-9a-f]{64}"),
        ("one", None, 1, {}, "another pre-trained checkpoint than .*; give the one with SHA-256 [0-9a-f]{64}"),
        (None, "one", 1, {}, "another pre-trained checkpoint than .*; give none"),
    ],
)
def test_an_adapter_goes_onto_the_network_and_checkpoint_that_it_was_trained_on_alone(
    trained, given, classes: int, other: dict, sentence: str, pretrained: Path, tmp_path: Path
) -> None:
    paths = {"one": pretrained, "other": _save(small_pspnet(14).state_dict(), tmp_path / "other.pt"), None: None}
    save_adapter(AdaptedNetwork(small_pspnet()), tmp_path / "adapter.pt", paths[trained])
    network = AdaptedNetwork(small_pspnet(classes), **other)
    before = _state(network)
    with pytest.raises(InputError, match=rf"adapter\.pt belongs to {sentence}"):
        load_adapter(network, tmp_path / "adapter.pt", paths[given])
    _assert_same(network.state_dict(), before)


def test_what_is_no_adapter_is_refused(tmp_path: Path) -> None:
    path = _save({"model": {}, "pretrained_sha256": ""}, tmp_path / "adapter.pt")
    with pytest.raises(InputError, match=r"adapter\.pt is no adapter with model, pretrained_sha256, tuning, settings"):
        load_adapter(AdaptedNetwork(small_pspnet()), path, None)
    network = AdaptedNetwork(small_pspnet())
    next(iter(network.trainable_state_dict().values())).flatten()[-1] = float("nan")
    save_adapter(network, path, None)
    with pytest.raises(InputError, match=r"adapter\.pt holds weights that are not a number, the first in"):
        load_adapter(AdaptedNetwork(small_pspnet()), path, None)
    with pytest.raises(InputError, match=r"no adapter for .*adapter\.pt"):
        save_adapter(AdaptedNetwork(small_pspnet(), tuning="full"), path, None)
