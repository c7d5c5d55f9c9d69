"""What can be put on top of a bundle: other sources of labels, losses, networks, correction, selection by transfer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser
from torch import nn

from doll_monai.findings import IGNORE, finding_index
from doll_monai.handlers.transfer_probe import last_convolution
from doll_monai.networks.adapters import AdaptedNetwork
from doll_monai.networks.parameters import parameter_groups
from doll_monai.networks.weights import load_backbone, load_pretrained, save_weights
from doll_monai.transforms.reading import LoadLabeld
from doll_monai.utils.errors import InputError, sentence_of
from few_images import on_images, run, write_images, write_weights
from narrow import MEMBERS, ROOT

GENERATION, PRETRAINING = (ROOT / "bundles" / name for name in ("doll_cxr_label_generation", "doll_cxr_segmentation"))
SOURCES, OPTIONS, NETWORKS = (
    {path.stem: path for path in sorted((bundle / "configs" / folder).glob("*.json"))}
    for bundle, folder in ((GENERATION, "sources"), (PRETRAINING, "options"), (PRETRAINING, "networks"))
)
LABELS: list[tuple[str, dict[str, Any]]] = [
    ("gradcam", {}),
    ("gradient_shap", {"noise_samples": 2}),
    ("noise_tunnel", {"noise_samples": 2}),
    ("integrated_gradients", {"superpixels": 12}),
    ("integrated_gradients", {"multiply_by_inputs": True}),
    ("integrated_gradients", {"min_probability": {"Edema": 1.0, "default": 0.0}}),
]
HEADS = {"segresnet": "conv_final", "flexible_unet": "segmentation_head", "swin_unetr": "out"}

each_network = pytest.mark.parametrize("name", NETWORKS)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("images"), count=6, size=(64, 64))


def _generate(images: Path, output: Path, source: str = "integrated_gradients", **options: Any) -> dict[str, bytes]:
    """Make labels with two small members; returns the label files' names below ``output`` and their contents."""
    values = on_images(GENERATION, images, output, ["inference"])
    members = [json.loads((MEMBERS / f"{name}.json").read_text()) for name in ("resnet10_narrow", "densenet_tiny")]
    values["network_def"]["members"] = [member["network_def"] for member in members]
    values |= {"gradcam_layers": ["layer4", "features.denseblock3"], "checkpoint": str(images / "committee.pt")}
    write_weights(GENERATION, values)
    run(GENERATION, ["inference", SOURCES[source]], values | options)
    return {path.relative_to(output).as_posix(): path.read_bytes() for path in sorted(output.rglob("*.nii.gz"))}


def _refusal(images: Path, output: Path, source: str = "integrated_gradients", **options: Any) -> str:
    """The sentence with which a run ends; MONAI wraps the error in others."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - MONAI's wrapping
        _generate(images, output, source, **options)
    return str(sentence_of(caught.value))


@pytest.fixture(scope="module")
def usual(images: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return _generate(images, tmp_path_factory.mktemp("usual"))


@pytest.mark.parametrize(("source", "options"), LABELS, ids=lambda value: value if isinstance(value, str) else "")
def test_an_option_makes_other_labels_says_so_and_can_be_resumed(source, options, images, usual, tmp_path) -> None:
    labels = _generate(images, tmp_path, source, **options)
    assert list(labels) == list(usual)
    assert labels != usual
    provenance = json.loads((tmp_path / "provenance.json").read_text())
    assert {name: provenance[name] for name in ("source", *options)} == {"source": source, **options}
    table = (tmp_path / "labels.csv").read_bytes()
    (tmp_path / "rows" / "000001.csv").unlink()
    (tmp_path / "labels.csv").unlink()
    (tmp_path / list(labels)[2]).unlink()
    assert _generate(images, tmp_path, source, **options) == labels
    assert (tmp_path / "labels.csv").read_bytes() == table


def test_options_that_are_off_change_nothing(images: Path, usual, tmp_path: Path) -> None:
    off = {"superpixels": 0, "superpixel_compactness": 3.0, "min_probability": {"default": 0.0}}
    assert _generate(images, tmp_path, **off) == usual


def test_labels_of_another_source_are_refused(images: Path, tmp_path: Path) -> None:
    _generate(images, tmp_path)
    refusal = _refusal(images, tmp_path, "gradcam")
    assert "source" in refusal
    assert "give a new output_dir" in refusal


@pytest.mark.parametrize(
    ("source", "options", "words"),
    [
        ("gradcam", {"gradcam_layers": ["layer4", "layer4"]}, "Member 1 has no layer 'layer4'"),
        ("integrated_gradients", {"superpixels": -5}, "must be at least 1"),
        ("integrated_gradients", {"min_probability": 50}, "must lie in"),
        ("noise_tunnel", {"noise_samples": 0}, "not 0 of"),
    ],
)
def test_an_impossible_option_is_one_sentence(source: str, options, words: str, images: Path, tmp_path: Path) -> None:
    assert words in _refusal(images, tmp_path, source, **options)
    assert not list(tmp_path.rglob("*.nii.gz"))


def test_an_observation_that_the_committee_does_not_see_is_ignored(images: Path, tmp_path: Path) -> None:
    names = _generate(images, tmp_path, min_probability={"Edema": 1.0})
    labels = [LoadLabeld()({"label": str(tmp_path / name)})["label"][finding_index("Edema")] for name in names]
    assert {int(value) for label in labels for value in label.unique()} == {0, IGNORE}
    assert all(len(label.unique()) == 1 for label in labels)


def _train(images: Path, folder: Path, *overlays: Path, **options: Any) -> tuple[ConfigParser, dict[str, float]]:
    """The bundle's pre-training with overlays; returns its configuration and the metrics of its last validation."""
    values = on_images(PRETRAINING, images, folder) | {"image_size": [64, 64], "device": "cpu"}
    if any(overlay.parent.name == "networks" for overlay in overlays):
        del values["network_def"]
    parser = run(PRETRAINING, ["train", *overlays], values | options).parser
    return parser, parser.get_parsed_content("validate::evaluator").state.metrics


@pytest.mark.parametrize("name", ["noise_robust_dice", "generalized_cross_entropy"])
def test_another_loss_is_used_and_logged(name: str, images: Path, tmp_path: Path) -> None:
    parser, metrics = _train(images, tmp_path, OPTIONS[name])
    loss = type(parser.get_parsed_content("train::trainer").loss_function).__name__
    assert loss.removesuffix("Loss").lower() == name.replace("_", "")
    assert parser.get_parsed_content("parameters::loss") == loss
    assert set(metrics) == {"label_iou"}


def test_correction_and_selection_by_transfer_work_together(images: Path, tmp_path: Path) -> None:
    probe = {"probe_datalist": str(images / "1.json"), "probe_dataset_dir": str(images / "images")}
    probe |= {"probe_label_dir": str(images), "max_epochs": 2}
    parser, metrics = _train(images, tmp_path, OPTIONS["label_correction"], OPTIONS["transfer_probe"], **probe)
    corrector = parser.get_parsed_content("label_corrector")
    assert len(corrector.curves) == 2
    state = torch.load(tmp_path / "training_state.pt", weights_only=True)
    assert state["label_corrector"] == corrector.state_dict()
    evaluator = parser.get_parsed_content("validate::evaluator")
    assert set(metrics) == {"transfer_iou", "label_iou"}
    assert evaluator.state.key_metric_name == "transfer_iou"
    assert evaluator.state.best_metric == pytest.approx(state["best"][0])


def test_a_probe_without_images_is_one_sentence(images: Path, tmp_path: Path) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - MONAI wraps it
        _train(images, tmp_path, OPTIONS["transfer_probe"])
    assert "probe_datalist" in str(sentence_of(caught.value))


def _build(name: str, **values: Any) -> nn.Module:
    definition = json.loads(NETWORKS[name].read_text())["network_def"] | values
    return ConfigParser({"network_def": definition}).get_parsed_content("network_def")


@pytest.mark.slow
@each_network
def test_another_network_trains_and_validates(name: str, images: Path, tmp_path: Path) -> None:
    _, metrics = _train(images, tmp_path, NETWORKS[name])
    assert 0 <= metrics["label_iou"] <= 1
    assert torch.load(tmp_path / "model.pt", weights_only=True).keys() == _build(name).state_dict().keys()


@each_network
def test_another_network_takes_no_classifier_and_no_rate_for_a_backbone(name: str, tmp_path: Path) -> None:
    network = _build(name)
    save_weights({"weight": torch.ones(1)}, tmp_path / "classifier.pt")
    with pytest.raises(InputError, match=r"network_def has no backbone that the classifier .* could be loaded into"):
        load_backbone(network, tmp_path / "classifier.pt")
    with pytest.raises(InputError, match="network_def has no backbone that could learn at a rate of its own"):
        parameter_groups(network, {"backbone": 0.1}, 1.0)
    (group,) = parameter_groups(network, {"backbone": 1.0}, 1.0)
    assert len(group["params"]) == len(list(network.parameters()))


@each_network
def test_all_but_its_head_is_loaded_into_a_network_for_a_task(name: str, tmp_path: Path) -> None:
    pretrained, head = _build(name), HEADS[name]
    assert last_convolution(pretrained) is last_convolution(pretrained.get_submodule(head))
    save_weights(pretrained.state_dict(), tmp_path / "model.pt")
    adapted = AdaptedNetwork(_build(name, out_channels=1), tuning="head", head=head)
    own = {key: value.clone() for key, value in adapted.state_dict().items()}
    load_pretrained(adapted, tmp_path / "model.pt")
    source, prefix = pretrained.state_dict(), f"network.{head}."
    for key, value in adapted.state_dict().items():
        assert torch.equal(value, own[key] if key.startswith(prefix) else source[key.removeprefix("network.")])
    trainable = [key for key, parameter in adapted.named_parameters() if parameter.requires_grad]
    assert trainable
    assert all(key.startswith(prefix) for key in trainable)
