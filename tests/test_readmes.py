"""Every command block of every README works as it is typed, on small data and with small values."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigParser
from narrow import BUNDLES, MEMBERS, ROOT, read_config
from PIL import Image
from readme_blocks import command_blocks, other_blocks

from doll_monai.check.command import files_of, split_arguments
from doll_monai.check.ids import MISSING, look_up

ORDER = ("chexpert_cxr_classification", "doll_cxr_label_generation", "doll_cxr_segmentation")
"""Later ones use what the commands of earlier ones wrote; the tasks come after these."""
PAGES = [
    *(ROOT / "bundles" / name / "docs" / "README.md" for name in ORDER),
    *(bundle / "docs" / "README.md" for bundle in BUNDLES if bundle.name not in ORDER),
    ROOT / "README.md",
]
NOT_RUN = (
    ("make ", "what runs these tests"),
    (".venv/bin/mlflow ui", "a server that does not end"),
    ("python -m monai.bundle push_to_hf_hub", "publishes"),
    ("torchrun --nproc_per_node=4 -m monai.bundle run ...", "an ellipsis; tests/test_label_run.py runs it"),
)
NARROW = {"_target_": "resnet18", "block_inplanes": [8, 16, 16, 16]}
BACKBONE = json.loads((MEMBERS / "resnet10_narrow.json").read_text())["network_def"]
COMMITTEE = {"_target_": "doll_monai.networks.Committee", "members": [BACKBONE, BACKBONE]}
SMALL_RUN: dict[str, Any] = {"batch_size": 4, "max_epochs": 1, "num_workers": 0, "ig_steps": 3, "ig_max_steps": 4}
SMALL_RUN |= {"gradcam_layers": ["layer4", "layer4"], "precision": "float32", "ig_compile": False}
SMALL: dict[str, dict[str, str]] = {
    "scripts/run_pipeline.py": {"preset": "preset.json"},
    "doll_monai.data.phantom": {"count": "30", "size": "64"},
    "scripts/prepare_masks.py": {"training": "4", "validation": "3"},
    "scripts/compare_initialisations.py": {"iterations": "2", "seeds": "1", "shots": "2", "image_size": "48"},
    "scripts/measure_pretraining_gain.py": {
        **{"qualities": "1.0,none", "films": "6", "seeds": "1", "iterations": "2", "pretraining_iterations": "2"},
        **{"image_size": "48", "film_size": "64", "validation_films": "4", "task_films": "24"},
        **{"backbone": "resnet10_narrow"},
    },
    "scripts/summarise_comparisons.py": {"shots": "2"},
    "scripts/evaluate_labels.py": {"image_size": "48", "ig_steps": "3", "resamples": "1000"},
    "scripts/benchmark_attribution.py": {"networks": "resnet10_narrow", "count": "2", "reference_count": "1", "size": "48"},
    "scripts/benchmark_label_run.py": {"count": "6"},
    "scripts/benchmark_label_files.py": {"size": "32"},
}
"""Values of a program that replace those in the README."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like a fresh clone with films, and everything that the READMEs write in capitals."""
    folder = tmp_path_factory.mktemp("world")
    for name in ("bundles", "scripts"):
        (folder / name).symlink_to(ROOT / name)
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "activate").touch()
    draw = [sys.executable, "-m", "doll_monai.data.phantom", "--count", "40", "--size", "64"]
    for number, name in enumerate(("DATA", "TASK")):
        subprocess.run([*draw, "--output", str(folder / name), "--seed", str(number)], check=True, capture_output=True)
    films = sorted((folder / "TASK" / "train").rglob("*.jpg"))[:3]
    (folder / "FILMS").mkdir()
    for film in films:
        Image.open(film).save(folder / "FILMS" / f"{film.parts[-3]}.png")
    (folder / "COMMITTEE.json").write_text(json.dumps({"network_def": COMMITTEE}))
    (folder / "BACKBONE.json").write_text(json.dumps({"network_def::backbone": BACKBONE}))
    (folder / "NETWORK.json").write_text(json.dumps({"network_def::network::backbone": BACKBONE}))
    preset = json.loads((ROOT / "scripts" / "presets" / "demo.json").read_text()) | {"image_size": [48, 48]}
    preset |= {"members": ["resnet10_narrow"], "gradcam_layers": ["layer4"], "num_workers": 0}
    preset |= {"labels": {"ig_steps": 3}, "task_films": {"training": 4, "validation": 3}}
    for name in ("classifier", "pretraining", "fine_tuning"):
        preset[name] = {"max_epochs": 1, "batch_size": 4}
    (folder / "preset.json").write_text(json.dumps(preset))
    return folder


def _placeholders(page: Path) -> dict[str, str]:
    """What the words in capitals stand for, on a page."""
    bundle = page.parent.parent.name
    classifier, pretrained = "output/members/resnet50/model.pt", "output/pretraining/model.pt"
    models = {"chexpert_cxr_classification": classifier, "doll_cxr_segmentation": pretrained}
    models |= {f"{name}_cxr_segmentation": f"output/{folder}_model/model.pt" for name, folder in TASK_FOLDERS.items()}
    words = {"RESNET18.pt": classifier, "RESNET": classifier, "PRETRAINED": pretrained, "A/model.pt": classifier}
    words |= {"B/model.pt": classifier, "COMMITTEE.pt": "committee/model.pt", "COMMITTEE": "committee/model.pt"}
    words |= {"NIH.json": "DATA/dataset.json", "NIH": "DATA", "LUNGS_HEART": "TASK", "COVID": "TASK"}
    words |= {"DATA/CheXpert-v1.0-small": "DATA", "DATA/lungs": "TASK", "DATA_SET": "output/data_set"}
    if bundle in models:
        words["MODEL"] = models[bundle]
    return words


TASK_FOLDERS = {"lung": "lung", "jsrt": "jsrt", "covid": "infection"}


def _filled_in(command: str, words: dict[str, str]) -> str:
    for word, value in words.items():
        command = re.sub(rf"(?<![\w/$.]){re.escape(word)}(?![\w.=])", value, command)
    return command.replace(".venv/bin/python", "python")


def _small(command: str, cwd: Path) -> str:
    """The command with small values in place of, or beside, its own."""
    if "$" in command or not command.startswith(("python", "torchrun")):
        return re.sub(r"--(count|size) \d+", lambda match: f"--{match.group(1)} {SMALL['doll_monai.data.phantom'][match.group(1)]}", command)
    parts = shlex.split(command.partition(" #")[0])
    if "monai.bundle" in parts:
        return shlex.join([*parts, *_small_bundle(parts, cwd)]).replace("--nproc_per_node=4", "--nproc_per_node=2")
    program = next((part for part in parts if part in SMALL), None)
    for name, value in SMALL[program].items() if program else ():
        if f"--{name}" in parts:
            parts[parts.index(f"--{name}") + 1] = value
        elif program != "scripts/benchmark_label_run.py":
            parts += [f"--{name}", value]
    return shlex.join(parts)


def _small_bundle(parts: list[str], cwd: Path) -> list[str]:
    arguments = parts[parts.index("monai.bundle") + 2 :]
    if "ckpt_export" in parts or "onnx_export" in parts:
        arguments = arguments[1:]
    own, _ = split_arguments(arguments)
    files = [str(cwd / file) for file in files_of(own["config_file"])]
    config = ConfigParser.load_config_files(files)
    values = {} if "run" not in parts else {name: value for name, value in SMALL_RUN.items() if name in config}
    if "--image_size" not in parts and "run" in parts:
        values["image_size"] = [48, 48]
    values |= _small_network(config)
    if "onnx_export" in parts:
        values["input_shape"] = [1, 1, 48, 48]
    return [text for name, value in values.items() for text in (f"--{name}", json.dumps(value).replace("false", "False"))]


def _small_network(config: dict[str, Any]) -> dict[str, Any]:
    if look_up(config, "network_def::members") is not MISSING:
        return {"network_def": COMMITTEE}
    for name in ("network_def::network::backbone", "network_def::backbone"):
        if look_up(config, name) is not MISSING:
            return {name: BACKBONE}
    return {"network_def": BACKBONE}


def _reason_not_to_run(command: str) -> str | None:
    return next((reason for start, reason in NOT_RUN if command.startswith(start)), None)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.parent.name if page.name != "README.md" or page.parent.name == "docs" else "project")
def test_every_command_works(page: Path, world: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for block in command_blocks(page):
        commands = [_filled_in(line, _placeholders(page)) for line in block.splitlines()]
        script = "\n".join(_small(line, world) for line in commands if _reason_not_to_run(line) is None)
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=world, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{script}\n{done.stderr[-3000:]}"


def test_every_block_is_known() -> None:
    """A block that is neither a command nor one of these would not be tried."""
    others = [block for page in PAGES for block in other_blocks(page)]
    starts = ("from doll_monai", "network = monai.bundle.load", "--config_file", "bundles/            six")
    assert [block for block in others if not block.startswith(starts)] == []
    assert len([block for page in PAGES for block in command_blocks(page)]) > 30


def test_what_is_not_run_is_still_there() -> None:
    commands = [line for page in PAGES for block in command_blocks(page) for line in block.splitlines()]
    for start, _ in NOT_RUN:
        assert any(command.startswith(start) for command in commands)
