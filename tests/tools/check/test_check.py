"""Mistakes in the values of ``monai.bundle run`` end in a sentence that names them, before anything runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigParser

from doll_monai.utils.errors import InputError
from doll_tools.check.command import check, check_values
from doll_tools.cli import main
from narrow import BUNDLES, ROOT

TASK = ROOT / "bundles" / "lung_cxr_segmentation"
TRAIN = str(TASK / "configs" / "train.json")
CONFIG = {
    **{"batch_size": 16, "rate": 0.1, "compile": False, "image_size": [224, 224], "classes": ["lungs"]},
    **{"name": "lung", "path": None, "computed": "$1 + 1", "shares": {"default": 0.1}, "far": "%other.json::network"},
    "network": {"_target_": "torch.nn.PReLU", "num_parameters": "@batch_size"},
    "train": {"loader": {"_target_": "DataLoader", "dataset": [], "batch_size": "@batch_size"}},
}


def _check(given: dict[str, Any]) -> None:
    texts = [value for value in given.values() if isinstance(value, str)]
    check_values(ConfigParser(CONFIG), given, texts, "train.json")


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("bach_size", 4, "There is no value 'bach_size' in train.json. Did you mean 'batch_size'?"),
        ("train::laoder::batch_size", 4, "Did you mean 'train::loader::batch_size'?"),
        ("train#loder", "@network", "no value 'train::loder' in train.json. Did you mean 'train::loader'?"),
        ("num_parameters", 4, "Did you mean 'network::num_parameters'?"),
        ("network::num_parameter", 4, "takes no 'num_parameter'. Did you mean 'num_parameters'?"),
    ],
)
def test_wrong_value_is_named(name: str, value: Any, sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        _check({name: value})
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    "given",
    [
        *({"batch_size": 4}, {"batch_size": "$2 * 2"}, {"rate": 1}, {"rate": {"default": 0.1, "Edema": 0.2}}),
        *({"name": {"default": "ignore", "Edema": "ones"}}, {"compile": "true"}, {"image_size": (64, 96)}),
        *({"classes": ["lungs", "heart"]}, {"path": "image.png"}, {"computed": 3}, {"shares::Edema": 0.2}),
        *({"network": {"_target_": "Identity"}}, {"network": None}, {"network::init": 0.1}),
        *({"network::_disabled_": True}, {"train#loader#batch_size": 4}, {"train::loader::shuffle": True}),
        {"train::sampler": {"_target_": "object"}, "train::loader::sampler": "@train::sampler"},
        *({"own": 3, "batch_size": "@own"}, {"far::anything": 3}, {"imports": ["$import os"]}),
        {"+classes": ["heart"]},
    ],
    ids=str,
)
def test_right_value_passes(given: dict[str, Any]) -> None:
    _check(given)


@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.name)
def test_every_bundle_and_overlay_is_right(bundle: Path, capsys: pytest.CaptureFixture) -> None:
    check(str(bundle))
    right = capsys.readouterr().out
    assert "inference.json: right" in right
    check(str(bundle), image_size=[64, 64])
    assert capsys.readouterr().out == right
    for overlay in (bundle / "configs").glob("*/*.json"):
        first = "inference" if overlay.parent.name == "sources" else "train"
        files = [str(bundle / "configs" / f"{first}.json"), str(overlay)]
        check(str(bundle), config_file=files, bundle_root="elsewhere")


def test_a_value_of_some_workflows_is_right(capsys: pytest.CaptureFixture) -> None:
    check(str(TASK), max_epochs=3)
    said = capsys.readouterr().out.splitlines()
    trains = ("train.json", "train.json and evaluate.json", "train.json and multi_gpu_train.json")
    assert said == [f"{files}: right" for files in trains]


def test_files_are_checked_against_the_first(tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({"imgae_size": [64, 64]}))
    with pytest.raises(InputError, match=r"There is no value 'imgae_size' in train\.json"):
        check(str(TASK), config_file=[TRAIN, str(file)])
    file.write_text(json.dumps({"network_def": {"_target_": "SegResNet", "out_chanels": 1}}))
    with pytest.raises(InputError, match=r"SegResNet \('network_def'\) takes no 'out_chanels'"):
        check(str(TASK), config_file=[TRAIN, str(file)])
    file.write_text(json.dumps({"network_def": {"_target_": "SegResNt"}}))
    with pytest.raises(InputError, match="There is no 'SegResNt' to be found"):
        check(str(TASK), config_file=[TRAIN, str(file)])
    with pytest.raises(InputError, match=r"nowhere\.json does not exist"):
        check(str(TASK), config_file=f"{TRAIN},nowhere.json")
    with pytest.raises(InputError, match="is no bundle"):
        check(str(tmp_path))


def test_tracking_settings_may_be_given() -> None:
    for tracking in (str(TASK / "configs" / "mlflow.json"), "mlflow"):
        check(str(TASK), config_file=TRAIN, tracking=tracking, tracking_uri="sqlite:///mlruns.db")
    with pytest.raises(InputError, match="no value 'tracking_uri'"):
        check(str(TASK), config_file=TRAIN, tracking_uri="sqlite:///mlruns.db")
    with pytest.raises(InputError, match="mlfow does not exist"):
        check(str(TASK), config_file=TRAIN, tracking="mlfow")


def test_the_command_takes_values_as_a_run_does(capsys: pytest.CaptureFixture) -> None:
    assert main(["check", str(TASK), "--image_size", "[64,64]", "--network_def::tuning=lora", "--quiet"]) == 0
    assert "inference.json: right" in capsys.readouterr().out
    assert main(["check", str(TASK), "--imgae_size", "[64,64]"]) == 1
    said = capsys.readouterr().err
    assert said == "Error: There is no value 'imgae_size' in train.json. Did you mean 'image_size'?\n"
