"""The contract over every bundle: it verifies, initializes, has every property and runs; nothing drifts apart."""

from __future__ import annotations

import json
import pydoc
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ComponentLocator, ConfigComponent, ConfigParser, ConfigWorkflow
from monai.bundle.scripts import verify_net_in_out
from monai.transforms import Compose
from PIL import Image

import doll_monai
from doll_monai.data.datalist import write_datalist
from doll_monai.data.label_files import write_label
from doll_monai.findings import CHANNEL_DEF, IGNORE
from doll_monai.transforms.reading import LoadLabeld
from narrow import BUNDLES, MEMBERS, ROOT, has, kind_of, outputs, read_config, smaller, walk

SCHEMA = ROOT.parent / "shared" / "zoo" / "meta_schema_20240725.json"
WORKFLOWS = {"train": ["train"], "evaluate": ["train", "evaluate"], "inference": ["inference"]}
PARALLEL = ["train", "multi_gpu_train"]
LAYERS = {"resnet": "layer4", "densenet": "features.denseblock3", "efficientnet": "features.denseblock3"}
IMAGES = 8
MACHINE = re.compile(r"/(home|root|tmp|Users|mnt|work|opt)/")

each_bundle = pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.name)


def test_augmentation_keeps_an_ignored_channel_ignored() -> None:
    config = read_config(ROOT / "bundles" / "doll_cxr_segmentation", "train")
    transforms = ConfigParser(config["train"]["random_transforms"]).get_parsed_content()
    augment = Compose(transforms).set_random_state(0)
    for _ in range(20):
        result = augment({"image": torch.rand(1, 64, 64), "label": torch.full((2, 64, 64), IGNORE, dtype=torch.uint8)})
        assert bool((result["label"] == IGNORE).all())


def test_required_versions_are_the_tested_ones() -> None:
    tested = dict(
        line.strip().lower().split("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line and not line.startswith("#")
    )
    for bundle in BUNDLES:
        metadata = read_config(bundle, "metadata")
        required = {**metadata["required_packages_version"], "monai": metadata["monai_version"]}
        required |= {"torch": metadata["pytorch_version"], "numpy": metadata["numpy_version"]}
        assert required.pop("doll-monai") == doll_monai.__version__
        assert required == {name: tested[name] for name in required}


def _workflows() -> list[Any]:
    """Every combination of configurations that a bundle is run with."""
    cases = []
    for bundle in BUNDLES:
        for name, configs in WORKFLOWS.items():
            if has(bundle, *configs):
                cases.append(pytest.param(bundle, configs, id=f"{bundle.name}-{name}"))
        if has(bundle, "inference", "evaluate") and not has(bundle, "train"):
            cases.append(pytest.param(bundle, ["inference", "evaluate"], id=f"{bundle.name}-evaluate"))
        if has(bundle, "gate"):
            cases.append(pytest.param(bundle, ["inference", "evaluate", "gate"], id=f"{bundle.name}-gate"))
    return cases


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a few images with noise and a bright square."""
    folder = tmp_path_factory.mktemp("images")
    generator = np.random.default_rng(0)
    for number in range(IMAGES):
        path = folder / "train" / f"patient{number:05d}" / "study1" / "view1_frontal.png"
        path.parent.mkdir(parents=True)
        values = generator.integers(0, 120, (44, 52), dtype=np.uint8)
        values[10:20, 12:30] += 100
        Image.fromarray(values).save(path)
    return folder


def _write_datalist(bundle: Path, radiographs: Path, folder: Path) -> None:
    """A ``dataset.json`` of the bundle's kind, and what else its configurations read."""
    images = sorted(path.relative_to(radiographs).as_posix() for path in radiographs.rglob("*.png"))
    records: list[dict] = []
    for number, image in enumerate(images):
        label: Any = [float((number + channel) % 2) for channel in range(12)] + [-1.0, None]
        if has(bundle, "train") and "label_dir" in read_config(bundle, "train"):
            mask = np.zeros((outputs(bundle)["num_channels"], 52, 44), np.uint8)
            mask[:, 12:30, 10:20] = 1
            if len(mask) == len(CHANNEL_DEF):
                mask[:, 30:34] = IGNORE
            label = f"labels/{number}.nii.gz"
            write_label(folder / label, mask)
        records.append({"image": image, "label": label})
    write_datalist(folder / "dataset.json", {"training": records[:4], "validation": records[4:6], "test": records[6:]})
    rows = [f"{image},Edema,0.2,0.2,0.4,0.3\n{image},Pneumonia,0.5,0.5,0.2,0.2" for image in images]
    (folder / "truth.csv").write_text("Path,finding,x,y,width,height\n" + "\n".join(rows) + "\n")


def _overrides(bundle: Path, configs: list[str], images: Path, folder: Path) -> dict[str, Any]:
    """Small values, and every path below ``folder``; only ids that the configurations have."""
    known: dict[str, Any] = {}
    for name in configs:
        known.update(read_config(bundle, name))
    definition = known["network_def"]
    values = {
        "bundle_root": str(folder / "bundle"),
        "dataset_dir": str(images),
        "label_dir": str(folder),
        "output_dir": str(folder / "output"),
        "checkpoint": str(folder / "bundle" / "models" / "model.pt"),
        "network_def": smaller(definition),
        "image_size": [32, 32],
        "batch_size": 2,
        "num_workers": 0,
        "max_epochs": 1,
        "ig_steps": 2,
        "truth": str(folder / "truth.csv"),
        "gradcam_layers": [LAYERS[str(kind_of(member))] for member in definition.get("members", [])],
    }
    if known["datalist"] is not None:
        values["datalist"] = str(folder / "dataset.json")
    return {name: value for name, value in values.items() if name in known}


@each_bundle
def test_metadata_is_of_this_version(bundle: Path) -> None:
    metadata = read_config(bundle, "metadata")
    assert metadata["version"] in metadata["changelog"]
    assert metadata["required_packages_version"]["doll-monai"] == doll_monai.__version__
    channels = outputs(bundle)["channel_def"]
    assert list(channels) == [str(channel) for channel in range(outputs(bundle)["num_channels"])]
    if len(channels) == len(CHANNEL_DEF):
        assert channels == CHANNEL_DEF


@each_bundle
@pytest.mark.parametrize("file", ["LICENSE", "docs/README.md", "configs/logging.conf", "configs/inference.json"])
def test_bundle_has_the_file(bundle: Path, file: str) -> None:
    assert (bundle / file).is_file()
    assert (bundle / file).stat().st_size > 0


@each_bundle
def test_every_target_resolves(bundle: Path) -> None:
    locator = ComponentLocator()
    for path in (bundle / "configs").rglob("*.json"):
        for item in walk(json.loads(path.read_text())):
            if isinstance(item, dict) and "_target_" in item:
                name = ConfigComponent(config=item, id="", locator=locator).resolve_module_name()
                assert pydoc.locate(str(name)) is not None, f"{path.name}: {item['_target_']}"


@each_bundle
def test_paths_come_from_three_folders_alone(bundle: Path) -> None:
    for path in (bundle / "configs").rglob("*.json"):
        for name, value in json.loads(path.read_text()).items():
            for text in walk(value):
                if isinstance(text, str) and path.name != "metadata.json":
                    assert not MACHINE.search(text), f"{path.name}: {text}"
                    if text.startswith("/"):
                        assert name == "dataset_dir"
                        assert text.startswith("/workspace/data/")


@each_bundle
def test_logging_is_the_same_everywhere(bundle: Path) -> None:
    first = BUNDLES[0] / "configs" / "logging.conf"
    assert (bundle / "configs" / "logging.conf").read_text() == first.read_text()


@each_bundle
def test_training_on_several_gpus_has_every_property(bundle: Path, images: Path, tmp_path: Path) -> None:
    if not has(bundle, *PARALLEL):
        pytest.skip("this bundle has no training")
    _write_datalist(bundle, images, tmp_path)
    overrides = _overrides(bundle, PARALLEL, images, tmp_path)
    overrides |= {"initialize": [], "train::trainer::network": "@network"}
    overrides["train::sampler"] = {"_target_": "torch.utils.data.SequentialSampler", "data_source": "@train::dataset"}
    overrides["validate::sampler"] = {**overrides["train::sampler"], "data_source": "@validate::dataset"}
    files = [str(bundle / "configs" / f"{name}.json") for name in PARALLEL]
    workflow = ConfigWorkflow(config_file=files, logging_file=False, workflow_type="train", **overrides)
    workflow.initialize()
    assert workflow.check_properties() == []


@pytest.mark.parametrize(("bundle", "configs"), _workflows())
def test_workflow_has_every_property_and_runs(
    bundle: Path, configs: list[str], images: Path, tmp_path: Path, capfd
) -> None:
    shutil.copytree(bundle, tmp_path / "bundle", ignore=shutil.ignore_patterns("*.pt", "eval"))
    _write_datalist(bundle, images, tmp_path)
    overrides = _overrides(bundle, configs, images, tmp_path)
    checkpoint = Path(overrides["checkpoint"])
    if configs != ["train"]:
        config = {**read_config(bundle, configs[0]), "network_def": overrides["network_def"]}
        network = ConfigParser(config).get_parsed_content("network_def")
        checkpoint.parent.mkdir(exist_ok=True)
        torch.save(network.state_dict(), checkpoint)
    workflow = ConfigWorkflow(
        config_file=[str(tmp_path / "bundle" / "configs" / f"{name}.json") for name in configs],
        meta_file=str(tmp_path / "bundle" / "configs" / "metadata.json"),
        logging_file=False,
        workflow_type="train" if configs[0] == "train" else "infer",
        **overrides,
    )
    workflow.initialize()
    assert workflow.check_properties() == []
    workflow.run()
    workflow.finalize()
    progress = capfd.readouterr().err
    assert progress.count("(100 %)") == 1
    assert re.search(r"\d (batches/s|s a batch), after \d+ s\n", progress)
    assert "\r" not in progress
    if configs == ["train"]:
        assert checkpoint.is_file()
    elif configs == ["train", "evaluate"]:
        assert (tmp_path / "output" / "metrics.csv").is_file()
    elif configs == ["inference"] and outputs(bundle)["type"] == "image":
        _check_masks(tmp_path / "output", images, outputs(bundle)["num_channels"])
    elif "ig_steps" not in overrides:
        assert len((tmp_path / "output" / "predictions.csv").read_text().splitlines()) == IMAGES
    elif configs == ["inference"]:
        labels = json.loads((tmp_path / "output" / "dataset.json").read_text())
        assert [len(labels[section]) for section in ("training", "validation")] == [4, 2]
        assert all((tmp_path / "output" / record["label"]).is_file() for record in labels["training"])
    else:
        for name in ("localization", "chance", "agreement")[: 3 if "gate" in configs else 1]:
            assert len((tmp_path / "output" / f"{name}.csv").read_text().splitlines()) > 1
    assert not (tmp_path / "bundle" / "eval").exists()


def _check_masks(output: Path, images: Path, channels: int) -> None:
    """One mask for each image, in a folder like the image's, with the image's own size."""
    for image in images.rglob("*.png"):
        (mask,) = (output / image.parent.relative_to(images)).glob(f"{image.stem}_*.nii.gz")
        with Image.open(image) as picture, Image.open(mask.parent / f"{image.stem}_overlay.png") as overlay:
            assert LoadLabeld("label")({"label": str(mask)})["label"].shape == (channels, *picture.size)
            assert overlay.width == round(picture.width * 768 / max(picture.size))


@each_bundle
def test_training_and_inference_declare_the_same(bundle: Path) -> None:
    if not has(bundle, "train"):
        pytest.skip("this bundle has no training")
    train, inference = read_config(bundle, "train"), read_config(bundle, "inference")
    assert train["network_def"] == inference["network_def"]
    assert train["image_size"] == inference["image_size"]
    shared = train["train"]["deterministic_transforms"]
    assert inference["preprocessing"]["transforms"][: len(shared)] == shared


@each_bundle
def test_images_are_prepared_alike_in_every_bundle(bundle: Path) -> None:
    """What a classifier was trained on is what is explained, and what its backbone sees later."""
    shared = read_config(BUNDLES[0], "train")["train"]["deterministic_transforms"]
    assert read_config(bundle, "inference")["preprocessing"]["transforms"][: len(shared)] == shared


def test_committee_is_made_of_the_classifiers_members() -> None:
    members = [json.loads(path.read_text())["network_def"] for path in sorted(MEMBERS.glob("*.json"))]
    committee = read_config(ROOT / "bundles" / "doll_cxr_label_generation", "inference")["network_def"]["members"]
    assert len(committee) > 1
    assert all(member in members for member in committee)
    assert read_config(MEMBERS.parent.parent, "train")["network_def"] in members


def test_segmentation_backbone_is_a_member_of_the_committee() -> None:
    committee = read_config(ROOT / "bundles" / "doll_cxr_label_generation", "inference")["network_def"]["members"]
    assert read_config(ROOT / "bundles" / "doll_cxr_segmentation", "train")["network_def"]["backbone"] in committee


@each_bundle
def test_task_networks_are_the_pretrained_one_but_for_their_classes(bundle: Path) -> None:
    config = read_config(bundle, "inference")
    network = config["network_def"]
    if network["_target_"] != "doll_monai.networks.AdaptedNetwork":
        pytest.skip("this bundle has no adapted network")
    pretrained = read_config(ROOT / "bundles" / "doll_cxr_segmentation", "train")["network_def"]
    assert {**network["network"], "out_channels": 0} == {**pretrained, "out_channels": 0}
    channels = outputs(bundle)
    assert config["classes"] == list(channels["channel_def"].values())
    assert read_config(bundle, "train")["classes"] == config["classes"]
    assert ConfigParser(config).get_parsed_content("network_def::network::out_channels") == channels["num_channels"]


@each_bundle
def test_label_generation_and_evaluation_explain_and_process_alike(bundle: Path) -> None:
    """Both name the same handler and the same transforms, declared once."""
    if not (has(bundle, "inference", "evaluate") and "ig_steps" in read_config(bundle, "inference")):
        pytest.skip("this bundle has no attributions")
    labels, scores = read_config(bundle, "inference"), read_config(bundle, "evaluate")
    assert labels["postprocessing"]["transforms"][0] == "@attribution_transforms"
    assert scores["postprocessing::transforms"][0] == "@attribution_transforms"
    assert "@explainer" in labels["handlers"]
    assert "@explainer" in scores["handlers"]
    assert not {"attribution_transforms", "explainers", "explainer"} & set(scores)


@each_bundle
def test_network_has_the_shapes_that_the_metadata_says(bundle: Path) -> None:
    verify_net_in_out(
        net_id="network_def",
        meta_file=str(bundle / "configs" / "metadata.json"),
        config_file=str(bundle / "configs" / "inference.json"),
        device="cpu",
        n=8,
    )
