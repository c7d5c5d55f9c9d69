"""The options of the label generation bundle: each makes other labels, says so, and can be resumed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow
from PIL import Image

from doll_monai.data.datalist import write_datalist
from doll_monai.findings import IGNORE, finding_index
from doll_monai.transforms.reading import LoadLabeld
from doll_monai.utils.errors import sentence_of

BUNDLES = Path(__file__).resolve().parents[3] / "bundles"
CONFIG = BUNDLES / "doll_cxr_label_generation" / "configs" / "inference.json"
IMAGES = 5
OPTIONS: list[dict[str, Any]] = [
    {"source": "gradcam"},
    {"source": "gradient_shap", "noise_samples": 2},
    {"source": "noise_tunnel", "noise_samples": 2},
    {"superpixels": 12},
    {"multiply_by_inputs": True},
    {"min_probability": {"Edema": 1.0, "default": 0.0}},
]


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Images, a datalist, and the overrides of a small committee that is not trained."""
    folder = tmp_path_factory.mktemp("data")
    generator = np.random.default_rng(0)
    records = []
    for number in range(IMAGES):
        image = generator.integers(0, 120, (44, 52), dtype=np.uint8)
        image[10:20, 12:30] += 100
        Image.fromarray(image).save(folder / f"image_{number}.png")
        records.append({"image": f"image_{number}.png", "label": [1.0] * 13 + [None]})
    write_datalist(folder / "dataset.json", {"training": records[:3], "validation": records[3:]})
    members = [
        json.loads((BUNDLES / f"chexpert_cxr_classification/configs/members/{name}.json").read_text())["network_def"]
        for name in ("resnet10_narrow", "densenet_tiny")
    ]
    network_def = {"_target_": "doll_monai.networks.Committee", "members": members}
    torch.manual_seed(0)
    network = ConfigParser({"network_def": network_def}).get_parsed_content("network_def")
    torch.save(network.state_dict(), folder / "model.pt")
    return {
        "bundle_root": str(CONFIG.parent.parent),
        "dataset_dir": str(folder),
        "checkpoint": str(folder / "model.pt"),
        "network_def": network_def,
        "gradcam_layers": ["layer4", "features.denseblock3"],
        "image_size": [32, 32],
        "batch_size": 2,
        "num_workers": 0,
        "ig_steps": 2,
    }


def _generate(values: dict[str, Any], output: Path, **options: Any) -> dict[str, bytes]:
    """Run the bundle; returns the label files' names below ``output`` and their contents."""
    workflow = ConfigWorkflow(
        config_file=str(CONFIG),
        logging_file=False,
        workflow_type="infer",
        **{**values, "output_dir": str(output), **options},
    )
    workflow.initialize()
    assert workflow.check_properties() == []
    workflow.run()
    workflow.finalize()
    return {path.relative_to(output).as_posix(): path.read_bytes() for path in sorted(output.rglob("*.nii.gz"))}


def _refusal(values: dict[str, Any], output: Path, **options: Any) -> str:
    """The sentence with which a run ends; MONAI wraps the error in others."""
    try:
        _generate(values, output, **options)
    except Exception as error:
        return str(sentence_of(error))
    return "it was not refused"


@pytest.fixture(scope="module")
def usual(values: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return _generate(values, tmp_path_factory.mktemp("usual"))


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: options.get("source", next(iter(options))))
def test_an_option_makes_other_labels_says_so_and_can_be_resumed(options, values, usual, tmp_path: Path) -> None:
    labels = _generate(values, tmp_path, **options)
    assert list(labels) == list(usual)
    assert labels != usual
    provenance = json.loads((tmp_path / "provenance.json").read_text())
    assert {name: provenance[name] for name in options} == options
    table = (tmp_path / "labels.csv").read_bytes()
    (tmp_path / "rows" / "000001.csv").unlink()
    (tmp_path / "labels.csv").unlink()
    for name in list(labels)[2:4]:
        (tmp_path / name).unlink()
    assert _generate(values, tmp_path, **options) == labels
    assert (tmp_path / "labels.csv").read_bytes() == table


def test_options_that_are_off_change_nothing(values, usual, tmp_path: Path) -> None:
    off = {"superpixels": 0, "superpixel_compactness": 3.0, "min_probability": {"default": 0.0}, "noise_samples": 5}
    assert _generate(values, tmp_path, **off) == usual


def test_labels_of_another_source_are_refused(values, tmp_path: Path) -> None:
    _generate(values, tmp_path)
    assert "source; give a new output_dir" in _refusal(values, tmp_path, source="gradcam")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"source": "grad_cam"}, "no source 'grad_cam'"),
        ({"source": "gradcam", "gradcam_layers": ["layer4", "layer4"]}, "Member 1 has no layer 'layer4'"),
        ({"superpixels": -5}, "must be at least 1"),
        ({"min_probability": 50}, "must lie in"),
        ({"source": "noise_tunnel", "noise_samples": 0}, "not 0 of"),
    ],
    ids=lambda value: next(reversed(value)) if isinstance(value, dict) else "",
)
def test_an_impossible_option_is_one_sentence(options, words: str, values, tmp_path: Path) -> None:
    assert words in _refusal(values, tmp_path, **options)
    assert not list(tmp_path.rglob("*.nii.gz"))


def test_an_observation_that_the_committee_does_not_see_is_ignored(values, tmp_path: Path) -> None:
    edema = finding_index("Edema")
    for name in _generate(values, tmp_path, min_probability={"Edema": 1.0}):
        label = LoadLabeld()({"label": str(tmp_path / name)})["label"]
        assert [bool((channel == IGNORE).all()) for channel in label] == [number in (0, edema) for number in range(14)]
