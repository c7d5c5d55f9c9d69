"""PSPNet: stride 8 by dilation, a classifier's weights unchanged below it, logits at full resolution."""

from __future__ import annotations

import copy

import pytest
import torch
from monai.networks.nets import ResNet, resnet18, resnet50
from torch import nn

from doll_monai.networks.pspnet import DilatedResNet, PSPNet, PyramidPooling

ARGUMENTS = {"spatial_dims": 2, "n_input_channels": 1, "conv1_t_stride": 2, "bias_downsample": False}


def _classifier(build) -> nn.Module:
    """A classifier whose BatchNorm statistics are no longer the initial ones."""
    network = build(**ARGUMENTS)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    return network.eval()


@pytest.mark.parametrize("build", [resnet18, resnet50])
def test_dilated_features_subsampled_are_the_classifiers(build) -> None:
    """Dilation instead of stride computes the same numbers at every fourth place, and new ones between them."""
    classifier, x = _classifier(build).double(), torch.rand(1, 1, 64, 64).double()
    backbone = DilatedResNet(copy.deepcopy(classifier)).eval()
    with torch.no_grad():
        dense = backbone(x)
        coarse = classifier.maxpool(classifier.act(classifier.bn1(classifier.conv1(x))))
        coarse = classifier.layer4(classifier.layer3(classifier.layer2(classifier.layer1(coarse))))
    assert dense.shape == (1, backbone.out_channels, 8, 8)
    assert coarse.shape == (1, backbone.out_channels, 2, 2)
    torch.testing.assert_close(dense[..., ::4, ::4], coarse, rtol=1e-9, atol=1e-9)


def test_logits_have_the_size_of_the_input_and_a_script_gives_the_same() -> None:
    network = PSPNet(resnet18(**ARGUMENTS), out_channels=3, decoder_channels=16).eval()
    x = torch.rand(2, 1, 65, 50)
    with torch.no_grad():
        logits = network(x)
        assert logits.shape == (2, 3, 65, 50)
        torch.testing.assert_close(torch.jit.script(network)(x), logits, rtol=1e-5, atol=1e-5)


def test_a_batch_of_one_trains() -> None:
    network = PSPNet(resnet18(**ARGUMENTS), out_channels=2, decoder_channels=16).train()
    network(torch.rand(1, 1, 64, 64)).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_pyramid_puts_region_means_beside_the_features() -> None:
    pyramid = PyramidPooling(8, bins=(1, 2)).eval()
    x = torch.rand(1, 8, 6, 6)
    with torch.no_grad():
        y = pyramid(x)
    assert y.shape == (1, 16, 6, 6)
    assert pyramid.out_channels == 16
    assert torch.equal(y[:, :8], x)
    whole_image = y[:, 8:12]
    assert torch.allclose(whole_image, whole_image[..., :1, :1].expand_as(whole_image), atol=1e-6)


@pytest.mark.parametrize(
    "backbone", [nn.Identity(), ResNet("basic", [1, 1, 1, 1], [4, 4, 4, 4], spatial_dims=3)], ids=["other", "volumes"]
)
def test_other_backbones_are_refused(backbone: nn.Module) -> None:
    with pytest.raises(ValueError, match="two-dimensional MONAI ResNet"):
        PSPNet(backbone, 1)
