"""Starts: each weight is, to the bit, the checkpoint's or the one that was there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from monai.networks.nets import resnet18
from torch import nn

from doll_monai.networks.adapters import AdaptedNetwork
from doll_monai.networks.initialization import is_classifier, start_from_backbone, start_from_network
from doll_monai.networks.pspnet import PSPNet
from doll_monai.utils.errors import InputError

OPTIONS = {"spatial_dims": 2, "n_input_channels": 1, "conv1_t_stride": 2, "bias_downsample": False}


def _network(seed: int, out_channels: int = 1) -> PSPNet:
    torch.manual_seed(seed)
    return PSPNet(resnet18(num_classes=3, **OPTIONS), out_channels, decoder_channels=8)


def _state(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def _torchvision(counters: bool) -> dict[str, torch.Tensor]:
    """A ResNet-18's weights, by torchvision's names and in its shapes."""
    shapes: dict[str, tuple[int, ...]] = {"conv1.weight": (64, 3, 7, 7), "fc.weight": (1000, 512), "fc.bias": (1000,)}
    norms = {"bn1": 64}
    channels = 64
    for stage, width in enumerate((64, 128, 256, 512), start=1):
        for block in range(2):
            name = f"layer{stage}.{block}"
            shapes[f"{name}.conv1.weight"] = (width, channels, 3, 3)
            shapes[f"{name}.conv2.weight"] = (width, width, 3, 3)
            norms |= {f"{name}.bn1": width, f"{name}.bn2": width}
            if channels != width:
                shapes[f"{name}.downsample.0.weight"] = (width, channels, 1, 1)
                norms[f"{name}.downsample.1"] = width
            channels = width
    for name, width in norms.items():
        shapes |= dict.fromkeys(
            (f"{name}.{part}" for part in ("weight", "bias", "running_mean", "running_var")), (width,)
        )
    state = {name: torch.rand(shape) for name, shape in shapes.items()}
    return state | {f"{name}.num_batches_tracked": torch.tensor(7) for name in norms if counters}


@pytest.mark.parametrize("counters", [True, False])
def test_torchvisions_resnet_becomes_the_backbone_in_grey(counters: bool, tmp_path: Path) -> None:
    weights, path = _torchvision(counters), tmp_path / "resnet18.pth"
    torch.save(weights, path)
    before = _state(_network(0))
    after = start_from_backbone(_network(0), path).state_dict()
    assert is_classifier(path)
    for name, value in after.items():
        known = weights.get(name.removeprefix("backbone."), before[name]) if "backbone." in name else before[name]
        expected = known.sum(1, keepdim=True) if name == "backbone.conv1.weight" else known
        assert torch.equal(value, expected), name


def test_grey_image_passes_the_first_convolution_like_its_color_copy(tmp_path: Path) -> None:
    weights = _torchvision(True)
    torch.save(weights, tmp_path / "resnet18.pth")
    network = start_from_backbone(_network(0), tmp_path / "resnet18.pth")
    image = torch.rand(1, 1, 32, 32)
    color = nn.functional.conv2d(image.expand(-1, 3, -1, -1), weights["conv1.weight"], stride=2, padding=3)
    torch.testing.assert_close(network.backbone.conv1(image), color)


@pytest.mark.parametrize("source", ["classifier", "committee", "network", "fully_tuned"])
def test_a_backbone_comes_from_whatever_has_one(source: str, tmp_path: Path) -> None:
    torch.manual_seed(5)
    classifier, path = resnet18(num_classes=14, **OPTIONS).state_dict(), tmp_path / "source.pt"
    other = _network(6, out_channels=14)
    content = {
        "classifier": classifier,
        "committee": {f"members.1.{name}": value for name, value in classifier.items()},
        "network": other.state_dict(),
        "fully_tuned": AdaptedNetwork(other, tuning="full").state_dict(),
    }[source]
    torch.save(content, path)
    expected = other.backbone.state_dict() if source in ("network", "fully_tuned") else classifier
    before = _state(_network(0))
    after = start_from_backbone(_network(0), path, 1 if source == "committee" else None).state_dict()
    assert any(not torch.equal(value, before[name]) for name, value in after.items())
    for name, value in after.items():
        known = expected[name.removeprefix("backbone.")] if "backbone." in name else before[name]
        assert torch.equal(value, known), name


@pytest.mark.parametrize("adapted", [False, True])
def test_a_network_comes_without_its_head(adapted: bool, tmp_path: Path) -> None:
    source, path = _network(6, out_channels=14), tmp_path / "source.pt"
    torch.save((AdaptedNetwork(source, tuning="full") if adapted else source).state_dict(), path)
    before = _state(_network(0, out_channels=2))
    after = start_from_network(_network(0, out_channels=2), path).state_dict()
    for name, value in after.items():
        assert torch.equal(value, before[name] if name.startswith("head.") else source.state_dict()[name]), name
    assert not is_classifier(path)


@pytest.mark.parametrize(
    ("content", "member", "sentence"),
    [
        ({"members.0.conv1.weight": torch.zeros(1)}, None, "is a committee's; give the number of a member: 0."),
        ({"members.0.conv1.weight": torch.zeros(1)}, 3, "is a committee's; give the number of a member: 0."),
        ({"features.0.weight": torch.zeros(1)}, None, "neither of a ResNet nor of a segmentation network"),
        ({"conv1.weight": torch.zeros(64, 1, 7, 7)}, None, "belongs to another network than network_def"),
        ({"network.backbone.conv1.base.weight": torch.zeros(1)}, None, "has adapters in it"),
    ],
)
def test_checkpoints_that_do_not_fit_are_explained(
    content: dict, member: int | None, sentence: str, tmp_path: Path
) -> None:
    torch.save(content, tmp_path / "source.pt")
    with pytest.raises(InputError, match=sentence):
        start_from_backbone(_network(0), tmp_path / "source.pt", member)


def test_a_network_without_backbone_takes_none(tmp_path: Path) -> None:
    torch.save(_torchvision(True), tmp_path / "source.pt")
    with pytest.raises(InputError, match="network_def has no backbone"):
        start_from_backbone(nn.Conv2d(1, 1, 1), tmp_path / "source.pt")


def test_another_network_is_refused_as_a_whole(tmp_path: Path) -> None:
    torch.save({"backbone.conv1.weight": torch.zeros(1)}, tmp_path / "source.pt")
    with pytest.raises(InputError, match="belongs to another network than network_def"):
        start_from_network(_network(0), tmp_path / "source.pt")
