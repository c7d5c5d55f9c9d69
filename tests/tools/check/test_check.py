"""Mistakes on the command line of ``monai.bundle run`` end in a sentence that names them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from doll_monai.utils.errors import InputError
from doll_tools.check.__main__ import check_bundle
from doll_tools.check.command import check_command, split_arguments
from doll_tools.check.configuration import check_configuration
from doll_tools.check.values import check_values

BUNDLES = Path(__file__).resolve().parents[3] / "bundles"
TASK = BUNDLES / "lung_cxr_segmentation"
CONFIG = {
    "batch_size": 16,
    "rate": 0.1,
    "compile": False,
    "image_size": [224, 224],
    "classes": ["lungs"],
    "name": "lung",
    "path": None,
    "computed": "$1 + 1",
    "shares": {"default": 0.1},
    "network": {"_target_": "torch.nn.PReLU", "num_parameters": "@batch_size"},
    "train": {"loader": {"_target_": "DataLoader", "dataset": [], "batch_size": "@batch_size"}},
    "far": "%other.json::network",
}


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("bach_size", 4, "There is no value 'bach_size' in train.json. Did you mean 'batch_size'?"),
        (
            "train::laoder::batch_size",
            4,
            "There is no value 'train::laoder' in train.json. Did you mean 'train::loader'?",
        ),
        ("train#loder", "@network", "There is no value 'train::loder' in train.json. Did you mean 'train::loader'?"),
        (
            "num_parameters",
            4,
            "There is no value 'num_parameters' in train.json. Did you mean 'network::num_parameters'?",
        ),
        (
            "network::num_parameter",
            4,
            r"torch.nn.PReLU \('network'\) takes no 'num_parameter'. Did you mean 'num_parameters'?",
        ),
        ("batch_size", "many", "'batch_size' must be a whole number such as 16, not 'many'"),
        ("batch_size", 2.5, "'batch_size' must be a whole number such as 16, not 2.5"),
        ("batch_size", True, "'batch_size' must be a whole number such as 16, not True"),
        ("batch_size", None, "'batch_size' must be a whole number such as 16, not None"),
        ("rate", "fast", "'rate' must be a number such as 0.1, not 'fast'"),
        ("compile", "maybe", "'compile' must be true or false, not 'maybe'"),
        ("image_size", 224, r"'image_size' must be a list such as \[224, 224\], not 224"),
        ("image_size", [224], r"'image_size' must be a list such as \[224, 224\], not \[224\]"),
        ("image_size", ["a", "b"], "'image_size' must be a list"),
        ("classes", "lungs", r"'classes' must be a list such as \['lungs'\], not 'lungs'"),
        ("classes", [1], "'classes' must be a list"),
        ("name", 3, "'name' must be a text such as 'lung', not 3"),
        ("network", "unet", "'network' is a block of the configuration and cannot be 'unet'"),
        ("path", "%nowhere.json::network", "'path' is taken from the file nowhere.json, which does not exist"),
    ],
)
def test_wrong_value_is_named(name: str, value: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence.replace("?", r"\?")):
        check_values(CONFIG, {name: value}, where="train.json")


@pytest.mark.parametrize(
    "given",
    [
        {"batch_size": 4},
        {"batch_size": "$2 * 2"},
        {"rate": 1},
        {"rate": {"default": 0.1, "Edema": 0.2}},
        {"name": {"default": "ignore", "Edema": "ones"}},
        {"compile": "true"},
        {"image_size": (64, 96)},
        {"classes": ["lungs", "heart"]},
        {"path": "image.png"},
        {"computed": 3},
        {"shares::Edema": 0.2},
        {"network": {"_target_": "Identity"}},
        {"network": None},
        {"network::init": 0.1},
        {"network::_disabled_": True},
        {"train#loader#batch_size": 4},
        {"train::loader::shuffle": True},
        {"train::sampler": {"_target_": "object"}, "train::loader::sampler": "@train::sampler"},
        {"own": 3, "batch_size": "@own"},
        {"far::anything": 3},
        {"imports": ["$import os"]},
        {"+classes": ["heart"]},
    ],
)
def test_right_value_passes(given: dict[str, Any]) -> None:
    check_values(CONFIG, given)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"a": {"_target_": "PReLu"}}, "There is no 'PReLu' to be found"),
        ({"a": {"_target_": "doll_monai.losses.Loss"}}, "There is no 'doll_monai.losses.Loss' to be found"),
        (
            {"a": {"_target_": "torch.nn.PReLU", "parameters": 2}},
            "'a' gives 'parameters' to torch.nn.PReLU, which does not take it",
        ),
        ({"a": {"_target_": "DataLoader"}}, "'a' does not give DataLoader its 'dataset'"),
        ({"a": "@batchsize"}, "'a' names '@batchsize', and there is no such value. Did you mean 'batch_size'?"),
        ({"a": "$@train::loder + 1"}, "'a' names '@train::loder', and there is no such value. Did you mean"),
        ({"a": [{"b": "@nothing"}]}, "'a::0::b' names '@nothing'"),
    ],
)
def test_wrong_configuration_is_named(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence.replace("?", r"\?")):
        check_configuration({**CONFIG, **change})


def test_right_configuration_passes() -> None:
    check_configuration({**CONFIG, "a": "@_meta_::version", "b": "mail@host", "c": "@far::x"})


def test_command_line_is_read_as_fire_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "args.json"
    file.write_text(json.dumps({"batch_size": 2, "seed": 1, "train::random_transforms": []}))
    line = f"train --config_file=['a.json','b.json'] --args_file {file} --image-size [64,64] --rate -1 --seed 3 --flag"
    own, given = split_arguments(line.split())
    assert own == {"config_file": ["a.json", "b.json"], "args_file": str(file)}
    assert given.pop("train::random_transforms") == []
    assert given == {"batch_size": 2, "seed": 3, "image_size": [64, 64], "rate": -1, "flag": True}


def _command(*arguments: str) -> list[str]:
    return ["monai", "run", *arguments]


def test_files_are_checked_against_the_first(tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({"imgae_size": [64, 64]}))
    with pytest.raises(InputError, match=r"There is no value 'imgae_size' in train\.json"):
        check_command(_command("--config_file", f"{TASK / 'configs' / 'train.json'},{file}"))
    with pytest.raises(InputError, match=r"nowhere\.json does not exist"):
        check_command(_command("--config_file", f"{TASK / 'configs' / 'train.json'},nowhere.json"))


def test_tracking_settings_may_be_given(tmp_path: Path) -> None:
    config = ["--config_file", str(TASK / "configs" / "train.json")]
    check_command(_command(*config, "--tracking", str(TASK / "configs" / "mlflow.json"), "--run_name", "first"))
    check_command(_command(*config, "--tracking", "mlflow", "--run_name", "first"))
    with pytest.raises(InputError, match="no value 'run_name'"):
        check_command(_command(*config, "--run_name", "first"))
    with pytest.raises(InputError, match="tracking settings mlfow do not exist"):
        check_command(_command(*config, "--tracking", "mlfow"))


@pytest.mark.parametrize("quiet", [["--quiet"], ["--quiet=true"], ["--quiet", "False"]])
def test_a_switch_may_stand_alone(quiet: list[str]) -> None:
    check_command(_command("--config_file", str(TASK / "configs" / "train.json"), *quiet, "--max_epochs", "3"))


def test_a_checkpoint_must_be_there_before_anything_is_made(tmp_path: Path) -> None:
    config = ["--config_file", str(TASK / "configs" / "inference.json"), "--bundle_root", str(tmp_path)]
    with pytest.raises(InputError, match=r"models/model.pt does not exist; give --checkpoint, or train one first"):
        check_command(_command(*config))
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "model.pt").touch()
    check_command(_command(*config))


def test_other_programs_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["pytest", "run", "--config_file", "nowhere.json"])
    check_command()


@pytest.mark.parametrize(
    "bundle", sorted(path.parent.parent for path in BUNDLES.glob("*/configs/metadata.json")), ids=lambda path: path.name
)
def test_every_bundle_is_right(bundle: Path) -> None:
    right = check_bundle(bundle, [])
    assert "inference.json" in right
    assert right == check_bundle(bundle, ["--image_size", "[64,64]"])


def test_a_value_of_some_workflows_is_right() -> None:
    trains = ["train.json", "train.json and evaluate.json", "train.json and multi_gpu_train.json"]
    assert check_bundle(TASK, ["--max_epochs", "3"]) == trains


def test_no_bundle_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no bundle"):
        check_bundle(tmp_path, [])


def test_a_run_ends_with_the_sentence(tmp_path: Path) -> None:
    config = str(TASK / "configs" / "inference.json")
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", config, "--dataset_dir", str(tmp_path)]
    done = subprocess.run([*command, "--imgae_size", "[64,64]"], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert last == "Error: There is no value 'imgae_size' in inference.json. Did you mean 'image_size'?"
    assert "Traceback" not in done.stderr
