"""Every command of every page works as it is typed, on small data and with small values."""

from __future__ import annotations

import inspect
import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from monai.bundle import ConfigParser, push_to_hf_hub
from PIL import Image

from doll_tools.phantom.dataset import write_dataset
from narrow import MEMBERS, ROOT

ORDER = ("chexpert_cxr_classification", "doll_cxr_label_generation", "doll_cxr_segmentation")
"""Later bundles use what the commands of these wrote."""
PROGRAMS = {"python -m monai.bundle": "monai.bundle", "doll": "doll_tools"}
BUNDLES = sorted((ROOT / "bundles").glob("*/docs/README.md"), key=lambda page: (page.parts[-3] not in ORDER, str(page)))
README = ROOT / "README.md"
PAGES = [*BUNDLES, README, *(ROOT / "docs" / f"{name}.md" for name in ("stages", "compare"))]
NOT_RUN = {
    "make ": "runs these tests, and the pipeline in their place",
    "mlflow ui": "does not end",
    "pip install": "installs what is there",
    "python -m venv": "makes an environment",
    "python -m monai.bundle push_to_hf_hub": "publishes; its arguments are tested below",
    "doll annotate IMAGES": "does not end; tested in tests/tools/annotate",
    "doll demo": "takes ten minutes",
}
BACKBONE = json.loads((MEMBERS / "lite0.json").read_text())["network_def"]
COMMITTEE = {"_target_": "doll_monai.networks.Committee", "members": [BACKBONE, BACKBONE]}
SMALL: dict[str, Any] = {
    **{"image_size": [48, 48], "batch_size": 4, "max_epochs": 1, "num_workers": 0, "precision": "float32"},
    **{"ig_steps": 3, "gradcam_layers": ["_conv_head", "_conv_head"]},
}
"""Values of a bundle, of those that its configuration has."""
OPTIONS: dict[str, dict[str, str]] = {
    "compare": {
        **{"iterations": "2", "seeds": "1", "shots": "2", "image_size": "48"},
        **{"initializations": "scratch,doll", "tunings": "full"},
    },
    "compare summarize": {"shots": "2"},
    "evaluate": {"image_size": "48", "ig_steps": "3", "resamples": "1000"},
    "benchmark attribution": {"networks": "resnet10_narrow", "count": "8", "size": "48", "repeats": "1"},
    "prepare masks": {"training": "4", "validation": "3"},
}
"""Options of ``doll``, in place of those on the page or beside them."""
MODELS = {
    "chexpert_cxr_classification": "output/members/resnet50/model.pt",
    "doll_cxr_segmentation": "output/pretraining/model.pt",
    "lung_cxr_segmentation": "output/lungs/model.pt",
    "jsrt_cxr_segmentation": "output/jsrt/model.pt",
    "covid_cxr_segmentation": "output/infection/model.pt",
}
"""What MODEL stands for: the file that the training on the same page writes."""
WORDS = {
    **dict.fromkeys(("DATA/CheXpert-v1.0-small", "CHEXPERT", "DATA", "NIH"), "output/phantom"),
    **dict.fromkeys(("LUNGS", "JSRT"), "output/phantom_task"),
    "COVID": "output/covid",
    **dict.fromkeys(("RESNET", "CLASSIFIER"), MODELS["chexpert_cxr_classification"]),
    "COMMITTEE": "output/committee/model.pt",
    "PRETRAINED": MODELS["doll_cxr_segmentation"],
}
"""What the other words in capitals stand for; IMAGES and the JSON files in capitals are there under these names."""


def blocks(page: Path) -> list[str]:
    """Blocks of shell commands, each command on one line."""
    found = re.findall(r"^```bash\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    return [re.sub(r"\\\n\s*", "", block) for block in found]


def commands(page: Path) -> list[str]:
    """The page's commands; a block with variables of the shell is one."""
    lines = [[block] if "$" in block else block.splitlines() for block in blocks(page)]
    return [line for block in lines for line in block if line.strip() and not line.startswith("#")]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like a checkout after a small run, here README's own, with what the pages write in capitals."""
    folder = tmp_path_factory.mktemp("clone")
    shutil.copytree(ROOT / "bundles", folder / "bundles", ignore=shutil.ignore_patterns("*.pt", "eval"))
    for seed, name in enumerate(("phantom", "phantom_task", "covid")):
        write_dataset(folder / "output" / name, count=40, seed=seed, size=64)
    table = folder / "output" / "covid" / "index.csv"
    rows = pd.read_csv(table)
    rows.assign(infection=rows["right_lung"]).to_csv(table, index=False)
    (folder / "IMAGES").mkdir()
    for image in sorted((folder / "output" / "phantom_task" / "train").rglob("*.jpg"))[:3]:
        Image.open(image).save(folder / "IMAGES" / f"{image.parts[-3]}.png")
    for name, content in {
        "COMMITTEE": {"network_def": COMMITTEE},
        "BACKBONE": {"network_def::backbone": BACKBONE},
        "NETWORK": {"network_def::network::backbone": BACKBONE},
    }.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    preset = json.loads((ROOT / "scripts/doll_tools/pipeline/presets/demo.json").read_text())
    preset |= {"image_size": [48, 48], "num_workers": 0, "labels": {"ig_steps": 3}}
    preset |= {"task_images": {"training": 4, "validation": 3}}
    preset |= {name: {"max_epochs": 1, "batch_size": 4} for name in ("classifier", "pretraining", "fine_tuning")}
    (folder / "tiny.json").write_text(json.dumps(preset))
    (whole_run,) = (command for command in commands(README) if command.startswith("doll run"))
    _run(_small(_filled_in(whole_run, README), folder), folder)
    (folder / "output" / "demo").symlink_to(folder / "output" / "run")
    return folder


def _run(command: str, folder: Path) -> None:
    """Run the command in bash; one that needs no shell in a fork, which need not import everything."""
    start, module = next(((start, name) for start, name in PROGRAMS.items() if command.startswith(start)), ("", ""))
    if not module or "$" in command:
        _shell(command, folder)
        return

    def child() -> None:
        os.chdir(folder)
        log = os.open("said.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(log, stream)
        sys.argv = [module, *shlex.split(command.removeprefix(start))]
        runpy.run_module(module, run_name="__main__", alter_sys=True)

    process = get_context("fork").Process(target=child)
    process.start()
    process.join()
    assert process.exitcode == 0, f"{command}\n{(folder / 'said.log').read_text()[-4000:]}"


def _shell(script: str, folder: Path) -> None:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PATH": path}
    command = ["bash", "-euo", "pipefail", "-c", script]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{script}\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}"


def _filled_in(command: str, page: Path) -> str:
    """The command with what the words in capitals stand for."""
    bundle = page.parent.parent.name
    words = {**WORDS, "MODEL": MODELS.get(bundle, "MODEL")}
    if bundle in MODELS and bundle not in ORDER:
        words["DATA"] = "output/covid" if bundle.startswith("covid") else "output/phantom_task"
    for word, value in sorted(words.items(), key=lambda item: -len(item[0])):
        command = re.sub(rf"(?<![\w/$.:]){re.escape(word)}(?![\w.=])", value, command)
    return command


def _small(command: str, folder: Path) -> str:
    """The command with small values; one with variables of the shell has them already."""
    if "$" in command:
        return (
            re.sub(r"--count \d+", "--count 30", command)
            .replace("--size 128", "--size 64")
            .replace("max_epochs 20", "max_epochs 1")
        )
    parts = shlex.split(command, comments=True)
    if "monai.bundle" in parts:
        parts += _bundle_values(parts, folder)
        return re.sub(r"--nproc_per_node=\d+", "--nproc_per_node=2", shlex.join(parts))
    name = next((" ".join(parts[1:end]) for end in (3, 2) if " ".join(parts[1:end]) in OPTIONS), "")
    for option, value in OPTIONS.get(name, {}).items():
        if f"--{option}" in parts:
            parts[parts.index(f"--{option}") + 1] = value
        else:
            parts += [f"--{option}", value]
    return (
        shlex.join(parts).replace("--preset small", "--preset tiny.json").replace("--preset full", "--preset tiny.json")
    )


def _bundle_values(parts: list[str], folder: Path) -> list[str]:
    verb = parts[parts.index("monai.bundle") + 1]
    given = parts[parts.index("--config_file") + 1]
    files = re.findall(r"[\w./-]+\.json", given)
    config = ConfigParser.load_config_files([str(folder / file) for file in files])
    values = {name: value for name, value in SMALL.items() if name in config} if verb == "run" else {}
    if "output/demo" not in given:
        values |= _network(ConfigParser(config))
    if verb == "onnx_export":
        values["input_shape"] = [1, 1, 48, 48]
    return [text for name, value in values.items() for text in (f"--{name}", str(value))]


def _network(parser: ConfigParser) -> dict[str, Any]:
    """The narrow network that stands in for the one of a bundle."""
    if "network_def::members" in parser:
        return {"network_def": COMMITTEE}
    for name in ("network_def::network::backbone", "network_def::backbone"):
        if name in parser:
            return {name: BACKBONE}
    return {"network_def": BACKBONE}


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: "/".join(page.relative_to(ROOT).parts[-3:]))
def test_every_command_works(page: Path, clone: Path) -> None:
    for command in commands(page):
        if not command.startswith(tuple(NOT_RUN)):
            _run(_small(_filled_in(command, page), clone), clone)


def test_every_bundle_has_commands() -> None:
    assert all(commands(page) for page in BUNDLES)


def test_publishing_is_told_what_monai_wants() -> None:
    every = [shlex.split(command) for page in PAGES for command in commands(page) if "push_to_hf_hub" in command]
    parameters = inspect.signature(push_to_hf_hub).parameters
    wanted = {name: value for name, value in parameters.items() if value.kind is not value.VAR_KEYWORD}
    for publish in every:
        given = {part[2:] for part in publish if part.startswith("--")}
        assert {name for name, value in wanted.items() if value.default is value.empty} <= given <= set(wanted)
