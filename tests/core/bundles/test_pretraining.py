"""What ``doll_cxr_segmentation`` can be switched to: networks, losses, label correction, selection by transfer."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow
from PIL import Image
from torch import nn

from doll_monai.data.datalist import write_datalist
from doll_monai.data.label_files import write_label
from doll_monai.findings import IGNORE
from doll_monai.handlers.transfer_probe import last_convolution
from doll_monai.networks.adapters import AdaptedNetwork
from doll_monai.networks.parameters import parameter_groups
from doll_monai.networks.weights import load_backbone, load_pretrained, save_weights
from doll_monai.utils.errors import InputError, sentence_of

ROOT = Path(__file__).resolve().parents[3]
BUNDLE = ROOT / "bundles" / "doll_cxr_segmentation"
MEMBERS = ROOT / "bundles" / "chexpert_cxr_classification" / "configs" / "members"
NETWORKS = sorted((BUNDLE / "configs" / "networks").glob("*.json"))
HEADS = {"segresnet": "conv_final", "flexible_unet": "segmentation_head", "swin_unetr": "out"}
SIZE = 64

each_network = pytest.mark.parametrize("path", NETWORKS, ids=lambda path: path.stem)


def _pspnet(member: str) -> dict[str, Any]:
    definition = json.loads((BUNDLE / "configs" / "train.json").read_text())["network_def"]
    definition["backbone"] = json.loads((MEMBERS / f"{member}.json").read_text())["network_def"]
    return definition


def _build(path: Path, **values: Any) -> nn.Module:
    definition = json.loads(path.read_text())["network_def"] | values
    return ConfigParser({"network_def": definition}).get_parsed_content("network_def")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images with a bright rectangle, labels of 14 channels (``dataset.json``) and masks (``probe.json``)."""
    folder = tmp_path_factory.mktemp("images")
    generator = np.random.default_rng(0)
    labels, masks = [], []
    for number in range(6):
        values = generator.integers(0, 120, (SIZE, SIZE), dtype=np.uint8)
        values[10:30, 12:40] += 100
        Image.fromarray(values).save(folder / f"{number}.png")
        label = np.zeros((14, SIZE, SIZE), np.uint8)
        label[:8, 12:40, 10:30] = 1
        label[2:5, 40:44] = IGNORE
        write_label(folder / "labels" / f"{number}.nii.gz", label)
        write_label(folder / "masks" / f"{number}.nii.gz", label[:1])
        labels.append({"image": f"{number}.png", "label": f"labels/{number}.nii.gz"})
        masks.append({"image": f"{number}.png", "label": f"masks/{number}.nii.gz"})
    write_datalist(folder / "dataset.json", {"training": labels[:4], "validation": labels[4:]})
    write_datalist(folder / "probe.json", {"training": masks[:3], "validation": masks[3:]})
    return folder


def _train(images: Path, folder: Path, configs: tuple[Path, ...] = (), **overrides: Any) -> ConfigWorkflow:
    """Run the bundle's training as a user does, with small values."""
    workflow = ConfigWorkflow(
        config_file=[str(BUNDLE / "configs" / "train.json"), *map(str, configs)],
        logging_file=False,
        workflow_type="train",
        bundle_root=str(folder),
        dataset_dir=str(images),
        image_size=[SIZE, SIZE],
        batch_size=2,
        num_workers=0,
        precision="float32",
        device="cpu",
        **{"max_epochs": 1, **overrides},
    )
    workflow.initialize()
    workflow.run()
    return workflow


def _metrics(workflow: ConfigWorkflow) -> dict[str, float]:
    return workflow.parser.get_parsed_content("validate::evaluator").state.metrics


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("resnet18", "resnet34", "resnet50")]


@pytest.mark.parametrize("member", ["resnet10_narrow", *SLOW])
def test_pspnet_on_every_resnet_trains_and_validates(member: str, images: Path, tmp_path: Path) -> None:
    workflow = _train(images, tmp_path, network_def=_pspnet(member))
    assert 0 <= _metrics(workflow)["label_iou"] <= 1
    assert (tmp_path / "models" / "model.pt").is_file()


@pytest.mark.slow
@each_network
def test_another_network_trains_validates_and_is_probed(path: Path, images: Path, tmp_path: Path) -> None:
    """By editing ``network_def`` alone."""
    workflow = _train(images, tmp_path, (path,), probe_datalist=str(images / "probe.json"))
    assert set(_metrics(workflow)) == {"transfer_iou", "label_iou"}
    best = torch.load(tmp_path / "models" / "model.pt", weights_only=True)
    assert best.keys() == _build(path).state_dict().keys()


@each_network
def test_another_network_takes_no_classifier_and_no_rate_for_a_backbone(path: Path, tmp_path: Path) -> None:
    network = _build(path)
    save_weights({"weight": torch.ones(1)}, tmp_path / "classifier.pt")
    with pytest.raises(InputError, match=r"network_def has no backbone that the classifier .* could be loaded into"):
        load_backbone(network, tmp_path / "classifier.pt")
    with pytest.raises(InputError, match="network_def has no backbone that could learn at a rate of its own"):
        parameter_groups(network, {"backbone": 0.1}, 1.0)
    (group,) = parameter_groups(network, {"backbone": 1.0}, 1.0)
    assert len(group["params"]) == len(list(network.parameters()))


@each_network
def test_all_but_its_head_is_loaded_into_a_network_for_a_task(path: Path, tmp_path: Path) -> None:
    pretrained, head = _build(path), HEADS[path.stem]
    save_weights(pretrained.state_dict(), tmp_path / "model.pt")
    adapted = AdaptedNetwork(_build(path, out_channels=1), tuning="head", head=head)
    own = {name: value.clone() for name, value in adapted.state_dict().items()}
    load_pretrained(adapted, tmp_path / "model.pt")
    source, prefix = pretrained.state_dict(), f"network.{head}."
    for name, value in adapted.state_dict().items():
        assert torch.equal(value, own[name] if name.startswith(prefix) else source[name.removeprefix("network.")])
    trainable = [name for name, parameter in adapted.named_parameters() if parameter.requires_grad]
    assert trainable
    assert all(name.startswith(prefix) for name in trainable)


@each_network
def test_the_convolution_in_front_of_the_classes_is_in_the_head(path: Path) -> None:
    network = _build(path)
    assert last_convolution(network) is last_convolution(network, HEADS[path.stem])
    assert last_convolution(network).out_channels == 14


@pytest.mark.parametrize("name", ["noise_robust_dice", "generalized_cross_entropy"])
def test_the_loss_is_chosen_by_name(name: str, images: Path, tmp_path: Path) -> None:
    workflow = _train(images, tmp_path, network_def=_pspnet("resnet10_narrow"), loss_name=name)
    loss = workflow.parser.get_parsed_content("loss")
    assert type(loss).__name__.removesuffix("Loss").lower() == name.replace("_", "")
    assert loss is workflow.parser.get_parsed_content("train::trainer").loss_function


def test_a_loss_that_is_none_is_refused(images: Path, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="loss_name") as caught:
        _train(images, tmp_path, network_def=_pspnet("resnet10_narrow"), loss_name="dice")
    assert sentence_of(caught.value) == (
        "loss_name must be one of partial, noise_robust_dice, generalized_cross_entropy, not 'dice'."
    )


def test_correction_and_selection_by_transfer_are_switched_by_one_value(images: Path, tmp_path: Path) -> None:
    logging.disable(logging.INFO)
    workflow = _train(
        images,
        tmp_path,
        network_def=_pspnet("resnet10_narrow"),
        label_correction=True,
        consistency_weight=1.0,
        probe_datalist=str(images / "probe.json"),
        max_epochs=2,
    )
    logging.disable(logging.NOTSET)
    corrector = workflow.parser.get_parsed_content("label_corrector")
    assert len(corrector.curves) == 2
    state = torch.load(tmp_path / "models" / "training_state.pt", weights_only=True)
    assert state["label_corrector"] == corrector.state_dict()
    evaluator = workflow.parser.get_parsed_content("validate::evaluator")
    assert evaluator.state.key_metric_name == "transfer_iou"
    assert evaluator.state.best_metric == pytest.approx(state["best"][0])


def test_by_default_nothing_is_corrected_and_labels_select(images: Path, tmp_path: Path) -> None:
    workflow = _train(images, tmp_path, network_def=_pspnet("resnet10_narrow"))
    assert workflow.parser.get_parsed_content("label_corrector").curves == []
    assert workflow.parser.get_parsed_content("validate::evaluator").state.key_metric_name == "label_iou"
    assert set(_metrics(workflow)) == {"label_iou"}
