"""The contract over every bundle: it resolves, has every property and runs, and nothing drifts apart."""

from __future__ import annotations

import json
import pydoc
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ComponentLocator, ConfigComponent, ConfigParser
from monai.transforms import Compose
from PIL import Image

import doll_monai
from doll_monai.findings import CHANNEL_DEF, IGNORE
from doll_monai.transforms.reading import LoadLabeld
from few_images import on_images, run, workflow, write_images, write_weights
from narrow import BUNDLES, MEMBERS, ROOT, has, outputs, read_config, walk

CLASSIFIER, COVID, GENERATION, PRETRAINING, JSRT, LUNGS = BUNDLES
TASKS = [LUNGS, JSRT, COVID]
CONFIGS = [path for path in sorted((ROOT / "bundles").glob("*/configs/**/*.json")) if path.name != "metadata.json"]
WHOLE = [path for path in CONFIGS if path.name in ("train.json", "inference.json")]
"""Configurations that stand alone; the others change one of these."""
RUNS = (
    *(("train",), ("train", "evaluate"), ("inference",)),
    *(("inference", "evaluate"), ("train", "multi_gpu_train")),
)
INFERENCE = {
    *("imports", "bundle_root", "dataset_dir", "datalist", "output_dir", "checkpoint", "classes", "device"),
    *("precision", "image_size", "batch_size", "num_workers", "quiet", "network_def", "network", "parameters"),
    *("preprocessing", "dataset", "dataloader", "inferer", "postprocessing", "handlers", "evaluator"),
    *("initialize", "run"),
}
TRAINING = INFERENCE - {"preprocessing", "dataset", "dataloader", "inferer", "postprocessing", "handlers", "evaluator"}
TRAINING |= {"ckpt_dir", "is_not_rank0", "seed", "max_epochs", "val_interval", "learning_rate", "weight_decay"}
TRAINING |= {"cache_rate", "optimizer", "lr_scheduler", "loss", "train", "validate"}

each_bundle = pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.name)
each_config = pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(ROOT / "bundles")))
each_whole = pytest.mark.parametrize("path", WHOLE, ids=lambda path: str(path.relative_to(ROOT / "bundles")))


def _workflows() -> list[Any]:
    """Every combination of configurations that a bundle is run with."""
    found = [(bundle, configs) for bundle in BUNDLES for configs in RUNS if has(bundle, *configs)]
    alone = [(b, c) for b, c in found if c != ("inference", "evaluate") or not has(b, "train")]
    return [pytest.param(bundle, configs, id=f"{bundle.name}-{configs[-1]}") for bundle, configs in alone]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("images"))


@pytest.mark.parametrize(("bundle", "configs"), _workflows())
def test_workflow_has_every_property_and_runs(bundle: Path, configs, images: Path, tmp_path: Path, capfd) -> None:
    output = tmp_path / "output"
    values = on_images(bundle, images, output, configs) | {"bundle_root": str(tmp_path / "bundle")}
    if "multi_gpu_train" in configs:
        sampler = {"_target_": "torch.utils.data.SequentialSampler"}
        values |= {
            f"{part}::sampler": {**sampler, "data_source": f"@{part}::dataset"} for part in ("train", "validate")
        }
        workflow(bundle, configs, values | {"initialize": [], "train::trainer::network": "@network"})
        return
    if configs != ("train",):
        write_weights(bundle, values)
    run(bundle, configs, values)
    assert "\r" not in capfd.readouterr().err
    if configs == ("train",):
        assert (output / "model.pt").is_file()
    elif configs == ("train", "evaluate"):
        assert (output / "metrics.csv").is_file()
    elif configs != ("inference",):
        assert len((output / "localization.csv").read_text().splitlines()) > 1
    elif bundle == GENERATION:
        labels = json.loads((output / "dataset.json").read_text())
        assert [len(labels[section]) for section in ("training", "validation")] == [8, 2]
        assert all((output / record["label"]).is_file() for record in labels["training"])
    elif outputs(bundle)["type"] == "image":
        _check_masks(output, images / "images", outputs(bundle)["num_channels"])
    else:
        assert len((output / "predictions.csv").read_text().splitlines()) == 12
    assert not (tmp_path / "bundle").exists()


def _check_masks(output: Path, images: Path, channels: int) -> None:
    """One mask for each image, in a folder like the image's, with the image's own size."""
    for image in images.rglob("*.png"):
        (mask,) = (output / image.parent.relative_to(images)).glob(f"{image.stem}_*.nii.gz")
        with Image.open(image) as picture, Image.open(mask.parent / f"{image.stem}_overlay.png") as overlay:
            assert LoadLabeld("label")({"label": str(mask)})["label"].shape == (channels, *picture.size)
            assert overlay.width == round(picture.width * 768 / max(picture.size))


@each_bundle
def test_metadata_is_of_this_version(bundle: Path) -> None:
    metadata = read_config(bundle, "metadata")
    assert metadata["version"] in metadata["changelog"]
    channels = outputs(bundle)["channel_def"]
    assert list(channels) == [str(channel) for channel in range(outputs(bundle)["num_channels"])]
    assert len(channels) < len(CHANNEL_DEF) or channels == CHANNEL_DEF
    lines = (ROOT / "constraints.txt").read_text().lower().splitlines()
    tested = dict(line.strip().split("==") for line in lines if "==" in line and not line.startswith("#"))
    required = {**metadata["required_packages_version"], "monai": metadata["monai_version"]}
    required |= {"torch": metadata["pytorch_version"], "numpy": metadata["numpy_version"]}
    assert required.pop("doll-monai") == doll_monai.__version__
    assert required == {name: tested[name] for name in required}


@each_config
def test_every_target_resolves(path: Path) -> None:
    locator = ComponentLocator()
    for item in walk(json.loads(path.read_text())):
        if isinstance(item, dict) and "_target_" in item:
            name = ConfigComponent(config=item, id="", locator=locator).resolve_module_name()
            assert pydoc.locate(str(name)) is not None, item["_target_"]


@each_config
def test_paths_come_from_three_folders_alone(path: Path) -> None:
    for name, value in json.loads(path.read_text()).items():
        for text in walk(value):
            if isinstance(text, str) and text.startswith("/"):
                assert name == "dataset_dir"
                assert text.startswith("/workspace/data/")


@each_config
def test_it_reads_like_a_recipe(path: Path) -> None:
    """Lines are short, the one import is the same everywhere, and no part of a list is named by its place."""
    text = path.read_text()
    assert all(len(line) <= 120 for line in text.splitlines())
    assert json.loads(text).get("imports", ["$import doll_monai.bundle as doll"]) == [
        "$import doll_monai.bundle as doll"
    ]
    assert not re.search(r"@[\w:]+\[[\d:]+\]", text.replace("@image_size[0]", ""))


@each_whole
def test_knobs_are_on_top(path: Path) -> None:
    config = json.loads(path.read_text())
    components = [
        number for number, value in enumerate(config.values()) if isinstance(value, dict) and "_target_" in value
    ]
    knobs = [number for number, value in enumerate(config.values()) if _is_knob(value)]
    assert max(knobs) < min(components)
    assert next(iter(config)) == "imports"


def _is_knob(value: Any) -> bool:
    if isinstance(value, list):
        return all(_is_knob(item) for item in value)
    return not isinstance(value, dict) and not (isinstance(value, str) and value.startswith(("$", "@")))


def test_the_six_share_one_vocabulary() -> None:
    kinds: dict[str, set[str]] = {}
    for path in WHOLE:
        config = json.loads(path.read_text())
        assert (TRAINING if path.name == "train.json" else INFERENCE) - set(config) == set()
        for name, value in config.items():
            if value is not None and not (isinstance(value, str) and value.startswith(("$", "@"))):
                kinds.setdefault(name, set()).add(type(value).__name__)
    assert {name: found for name, found in kinds.items() if len(found) > 1} == {}


@pytest.mark.parametrize("name", ["logging.conf", "mlflow.json", "multi_gpu_train.json"])
def test_what_travels_with_every_bundle_is_the_same(name: str) -> None:
    copies = [bundle / "configs" / name for bundle in BUNDLES if name != "multi_gpu_train.json" or has(bundle, "train")]
    assert len({copy.read_text() for copy in copies}) == 1


@pytest.mark.parametrize("name", ["train.json", "inference.json", "evaluate.json"])
def test_the_tasks_are_one_bundle_but_for_two_values(name: str) -> None:
    """Each bundle stands alone, as MONAI's model zoo wants it; what they share is written three times."""
    first, *others = (json.loads((task / "configs" / name).read_text()) for task in TASKS)
    for other in others:
        differing = {key for key in first if first[key] != other.get(key)}
        assert differing <= {"dataset_dir", "classes"}
        assert list(first) == list(other)


@each_bundle
def test_training_and_inference_declare_the_same(bundle: Path) -> None:
    """What a classifier was trained on is what is explained, and what its backbone sees later."""
    inference = read_config(bundle, "inference")
    shared = read_config(CLASSIFIER, "train")["train"]["deterministic_transforms"]
    assert inference["preprocessing"]["transforms"][: len(shared)] == shared
    if has(bundle, "train"):
        train = read_config(bundle, "train")
        assert train["train"]["deterministic_transforms"] == shared
        for name in ("network_def", "image_size", "precision", "classes"):
            assert train[name] == inference[name]


def test_committee_is_made_of_the_classifiers_members() -> None:
    members = [json.loads(path.read_text())["network_def"] for path in sorted(MEMBERS.glob("*.json"))]
    committee = read_config(GENERATION, "inference")["network_def"]["members"]
    assert len(committee) > 1
    assert all(member in members for member in committee)
    assert read_config(CLASSIFIER, "train")["network_def"] in members
    backbone = read_config(PRETRAINING, "train")["network_def"]["backbone"]
    assert {**backbone, "_target_": "doll_monai.networks.EfficientNetLite", "num_classes": 14} in committee


@pytest.mark.parametrize("task", TASKS, ids=lambda path: path.name)
def test_task_networks_are_the_pretrained_one_but_for_their_classes(task: Path) -> None:
    config = read_config(task, "inference")
    pretrained = read_config(PRETRAINING, "train")["network_def"]
    assert {**config["network_def"]["network"], "out_channels": 0} == {**pretrained, "out_channels": 0}
    assert config["classes"] == list(outputs(task)["channel_def"].values())
    channels = ConfigParser(config).get_parsed_content("network_def::network::out_channels")
    assert channels == outputs(task)["num_channels"]


def test_label_generation_and_evaluation_explain_and_process_alike() -> None:
    """Both name the same handler and the same transforms, declared once; the overlay of the default says the same."""
    labels, scores = read_config(GENERATION, "inference"), read_config(GENERATION, "evaluate")
    assert labels["postprocessing"]["transforms"][0] == "@attribution_transforms"
    assert scores["postprocessing::transforms"][0] == "@attribution_transforms"
    assert "@explainer" in labels["handlers"]
    assert "@explainer" in scores["handlers"]
    assert not {"attribution_transforms", "explainer"} & set(scores)
    usual = read_config(GENERATION, "sources/integrated_gradients")
    assert usual == {"explainer": labels["explainer"], "parameters::source": labels["parameters"]["source"]}


def test_augmentation_keeps_an_ignored_channel_ignored() -> None:
    config = read_config(PRETRAINING, "train")
    parser = ConfigParser({"image_size": [64, 64], "transforms": config["train"]["random_transforms"]})
    augment = Compose(parser.get_parsed_content("transforms")).set_random_state(0)
    for _ in range(20):
        result = augment({"image": torch.rand(1, 64, 64), "label": torch.full((2, 64, 64), IGNORE, dtype=torch.uint8)})
        assert bool((result["label"] == IGNORE).all())


def test_masks_do_not_depend_on_how_the_data_loader_starts_its_processes(images: Path, tmp_path: Path) -> None:
    """Python 3.14 starts them by a server; MONAI's ``Invertd`` knows only those that are forked."""
    server = {"num_workers": 2, "dataloader::multiprocessing_context": "forkserver"}
    found = []
    for name, changed in (("here", {}), ("server", server)):
        values = on_images(LUNGS, images, tmp_path / name, ["inference"]) | changed
        write_weights(LUNGS, values)
        run(LUNGS, ["inference"], values)
        masks = sorted((tmp_path / name).rglob("*.nii.gz"))
        found.append({path.relative_to(tmp_path / name): path.read_bytes() for path in masks})
    assert len(found[0]) == 12
    assert found[0] == found[1]
