"""Every command block of every README works as it is typed, on small data and with small values."""

from __future__ import annotations

import inspect
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

import pytest
from blocks import command_blocks, other_blocks
from monai.bundle import push_to_hf_hub
from PIL import Image
from small import BACKBONE, COMMITTEE, small

from narrow import BUNDLES, ROOT

LANES = int(os.environ.get("DOLL_MONAI_LANES", "2"))
"""Pages that are tried at a time."""
FIRST = ("chexpert_cxr_classification", "doll_cxr_label_generation", "doll_cxr_segmentation")
"""Later bundles use what the commands of these wrote."""
PAGES = [
    ROOT / "README.md",
    *(ROOT / "bundles" / name / "docs" / "README.md" for name in FIRST),
    *(bundle / "docs" / "README.md" for bundle in BUNDLES if bundle.name not in FIRST),
]
NOT_RUN = {
    "make ": "runs these tests, and the pipeline in their place",
    "python -m mlflow ui": "does not end",
    "python -m monai.bundle push_to_hf_hub": "publishes; its arguments are tested below",
}
OTHER_BLOCKS = ("from doll_monai", "network = monai.bundle.load", "--config_file", "bundles/            six bundles")
"""Beginnings of the blocks that are no commands."""
MODELS = {
    "chexpert_cxr_classification": "output/members/resnet50/model.pt",
    "doll_cxr_segmentation": "output/pretraining/model.pt",
    "lung_cxr_segmentation": "output/lung_model/model.pt",
    "jsrt_cxr_segmentation": "output/jsrt_model/model.pt",
    "covid_cxr_segmentation": "output/infection_model/model.pt",
}
"""What MODEL stands for: the file that the training on the same page writes."""
WORDS = {
    "DATA/CheXpert-v1.0-small": "output/phantom",
    **dict.fromkeys(("DATA", "NIH"), "output/phantom"),
    **dict.fromkeys(("DATA/lungs", "LUNGS_HEART"), "output/phantom_task"),
    "COVID": "output/covid",
    "NIH.json": "output/phantom/dataset.json",
    **dict.fromkeys(("RESNET", "RESNET18.pt", "A/model.pt", "B/model.pt"), MODELS["chexpert_cxr_classification"]),
    **dict.fromkeys(("COMMITTEE", "COMMITTEE.pt"), "committee/model.pt"),
    "PRETRAINED": MODELS["doll_cxr_segmentation"],
}
"""What the other words in capitals stand for; IMAGES and the JSON files in capitals are there under these names."""


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like a fresh clone, after a small `make demo`, and with what the READMEs write in capitals."""
    folder = tmp_path_factory.mktemp("clone")
    for name in ("bundles", "scripts"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("*.pt", "eval", "__pycache__"))
    _make_small(folder / "scripts" / "doll_tools" / "pipeline" / "presets")
    for number, name in enumerate(("phantom", "phantom_task", "covid")):
        draw = f"-m doll_tools.phantom --output output/{name} --count 40 --size 64 --seed {number}"
        _shell(f"python {draw}", folder)
    table = folder / "output" / "covid" / "index.csv"
    table.write_text(table.read_text().replace("right_lung,", "lungs,", 1))
    (folder / "IMAGES").mkdir()
    for image in sorted((folder / "output" / "phantom_task" / "train").rglob("*.jpg"))[:3]:
        Image.open(image).save(folder / "IMAGES" / f"{image.parts[-3]}.png")
    (folder / "COMMITTEE.json").write_text(json.dumps({"network_def": COMMITTEE}))
    (folder / "BACKBONE.json").write_text(json.dumps({"network_def::backbone": BACKBONE}))
    (folder / "NETWORK.json").write_text(json.dumps({"network_def::network::backbone": BACKBONE}))
    _shell(
        "doll run --chexpert output/phantom --task lung --task_data output/phantom_task "
        "--output output/demo --preset demo",
        folder,
    )
    return folder


def _make_small(presets: Path) -> None:
    preset = json.loads((presets / "demo.json").read_text())
    preset |= {"image_size": [48, 48], "num_workers": 0, "labels": {"ig_steps": 3}}
    preset |= {"task_images": {"training": 4, "validation": 3}}
    preset |= {name: {"max_epochs": 1, "batch_size": 4} for name in ("classifier", "pretraining", "fine_tuning")}
    for name in ("demo", "small"):
        (presets / f"{name}.json").write_text(json.dumps(preset))


def _shell(script: str, folder: Path) -> None:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PATH": path}
    command = ["bash", "-euo", "pipefail", "-c", script]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{script}\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}"


def _lines(page: Path) -> list[list[str]]:
    """The commands of each block, with the environment's own Python."""
    text = [block.replace(". .venv/bin/activate\n", "") for block in command_blocks(page)]
    return [re.sub(r"\.venv/bin/(mlflow|python)", _program, block).splitlines() for block in text]


def _program(match: re.Match) -> str:
    return "python" if match.group(1) == "python" else f"python -m {match.group(1)}"


def _filled_in(command: str, page: Path) -> str:
    """The command with what the words in capitals stand for; variables of the shell stay."""
    words = {**WORDS, "MODEL": MODELS.get(page.parent.parent.name, "MODEL")}
    if page.parent.parent.name in MODELS and page.parent.parent.name not in FIRST:
        words["DATA"] = "output/phantom_task"
    for word, value in sorted(words.items(), key=lambda item: -len(item[0])):
        command = re.sub(rf"(?<![\w/$.:]){re.escape(word)}(?![\w.=])", value, command)
    return command


def _reason_not_to_run(command: str) -> str | None:
    return next((reason for start, reason in NOT_RUN.items() if command.startswith(start)), None)


def _name(page: Path) -> str:
    return page.parent.parent.name if page.parent.name == "docs" else "project"


@pytest.fixture(scope="module")
def runs(clone: Path) -> Iterator[dict[Path, Future[None]]]:
    """All pages, two at a time: the later bundles after the chain of the first three, the project beside them."""
    project, *pages = PAGES
    with ThreadPoolExecutor(max_workers=LANES) as pool:
        started = {project: pool.submit(_run_page, project, clone)}
        chain: Future[None] | None = None
        for page in pages[: len(FIRST)]:
            chain = started[page] = pool.submit(_run_page, page, clone, chain)
        started |= {page: pool.submit(_run_page, page, clone, chain) for page in pages[len(FIRST) :]}
        yield started
        pool.shutdown(cancel_futures=True)


def _run_page(page: Path, folder: Path, after: Future[None] | None = None) -> None:
    if after is not None:
        wait([after])
    for block in _lines(page):
        for command in block if "$" not in "".join(block) else ["\n".join(block)]:
            if command and _reason_not_to_run(command) is None:
                _shell(small(_filled_in(command, page), folder), folder)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_command_works(page: Path, runs: dict[Path, Future[None]]) -> None:
    runs[page].result()


def test_every_block_is_known() -> None:
    """A block that is neither a command nor one of these would not be tried."""
    others = [block for page in PAGES for block in other_blocks(page)]
    assert [block for block in others if not block.startswith(OTHER_BLOCKS)] == []
    assert all(command_blocks(page) for page in PAGES)


def test_what_is_not_run_is_still_there() -> None:
    commands = [command for page in PAGES for block in _lines(page) for command in block]
    assert all(any(command.startswith(start) for command in commands) for start in NOT_RUN)


def test_publishing_is_told_what_monai_wants() -> None:
    commands = [command for page in PAGES for block in _lines(page) for command in block]
    (publish,) = [shlex.split(command) for command in commands if "push_to_hf_hub" in command]
    given = {part[2:] for part in publish if part.startswith("--")}
    parameters = inspect.signature(push_to_hf_hub).parameters
    wanted = {name: value for name, value in parameters.items() if value.kind is not value.VAR_KEYWORD}
    assert {name for name, value in wanted.items() if value.default is value.empty} <= given <= set(wanted)
