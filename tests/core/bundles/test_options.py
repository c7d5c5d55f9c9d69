"""What can be put on top of a bundle: other sources of labels, losses, networks, label correction."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser
from torch import nn

from doll_monai.networks.adapters import AdaptedNetwork
from doll_monai.networks.weights import load_pretrained
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
    ("integrated_gradients", {"superpixels": 12}),
    ("integrated_gradients", {"multiply_by_inputs": True}),
    ("integrated_gradients", {"min_probability": {"Edema": 1.0, "default": 0.0}}),
]
HEADS = {"segresnet": "conv_final", "flexible_unet": "segmentation_head", "pspnet": "head", "swin_unetr": "out"}


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


@pytest.fixture(scope="module")
def usual(images: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return _generate(images, tmp_path_factory.mktemp("usual"))


@pytest.mark.parametrize(("source", "options"), LABELS, ids=lambda value: value if isinstance(value, str) else "")
def test_an_option_makes_other_labels_and_says_so(source, options, images, usual, tmp_path) -> None:
    labels = _generate(images, tmp_path, source, **options)
    assert list(labels) == list(usual)
    assert labels != usual
    provenance = json.loads((tmp_path / "provenance.json").read_text())
    assert {name: provenance[name] for name in ("source", *options)} == {"source": source, **options}


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


def test_label_correction_watches_each_epoch_and_is_kept_with_the_training(images: Path, tmp_path: Path) -> None:
    parser, _ = _train(images, tmp_path, OPTIONS["label_correction"], max_epochs=2)
    corrector = parser.get_parsed_content("label_corrector")
    assert len(corrector.curves) == 2
    state = torch.load(tmp_path / "training_state.pt", weights_only=True)
    assert state["label_corrector"] == corrector.state_dict()


def _build(name: str, **values: Any) -> nn.Module:
    definition = json.loads(NETWORKS[name].read_text())["network_def"] | values
    return ConfigParser({"network_def": definition}).get_parsed_content("network_def")


@pytest.mark.parametrize("name", NETWORKS)
def test_another_network_is_trained_and_all_but_its_head_loaded_for_a_task(name, images, tmp_path: Path) -> None:
    _, metrics = _train(images, tmp_path, NETWORKS[name])
    assert 0 <= metrics["label_iou"] <= 1
    pretrained, head = torch.load(tmp_path / "model.pt", weights_only=True), HEADS[name]
    network = _build(name, out_channels=1)
    adapted = AdaptedNetwork(network, tuning="head", head=head)
    own = {key: value.clone() for key, value in adapted.state_dict().items()}
    load_pretrained(adapted, tmp_path / "model.pt")
    prefix = f"network.{head}."
    for key, value in adapted.state_dict().items():
        assert torch.equal(value, own[key] if key.startswith(prefix) else pretrained[key.removeprefix("network.")])
    trainable = [key for key, parameter in adapted.named_parameters() if parameter.requires_grad]
    assert trainable
    assert all(key.startswith(prefix) for key in trainable)
