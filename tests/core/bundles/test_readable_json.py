"""The bundles' JSON reads like a recipe: knobs on top, short lines, the same words for the same things."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

BUNDLES = Path(__file__).resolve().parents[3] / "bundles"
CONFIGS = sorted(path for path in BUNDLES.glob("*/configs/*.json") if path.name != "metadata.json")
WHOLE = [path for path in CONFIGS if path.name in ("train.json", "inference.json")]
"""Configurations that stand alone; the others change one of these."""
INFERENCE = {
    *("imports", "bundle_root", "dataset_dir", "datalist", "output_dir", "checkpoint", "classes", "device"),
    *("precision", "image_size", "batch_size", "num_workers", "quiet", "network_def", "network", "parameters"),
    *("preprocessing", "dataset", "dataloader", "inferer", "postprocessing", "handlers", "evaluator"),
    *("initialize", "run"),
}
TRAINING = INFERENCE - {"preprocessing", "dataset", "dataloader", "inferer", "postprocessing", "handlers", "evaluator"}
TRAINING |= {"ckpt_dir", "is_not_rank0", "seed", "max_epochs", "val_interval", "learning_rate", "weight_decay"}
TRAINING |= {"cache_rate", "optimizer", "lr_scheduler", "loss", "train", "validate"}
READ, SCALED = r'"_target_": "doll_monai\.transforms\.LoadRadiographd"', '"ScaleIntensityRangePercentilesd"'
IMAGE = re.compile(rf"\{{\s+{READ}.*?{SCALED}.*?\n +\}}", re.S)
"""From reading an image to its grey values between 0 and 1."""


def _name(path: Path) -> str:
    return f"{path.parent.parent.name}-{path.stem}"


@pytest.mark.parametrize("path", CONFIGS, ids=_name)
def test_no_expression_is_longer_than_a_line(path: Path) -> None:
    long = [number for number, line in enumerate(path.read_text().splitlines(), start=1) if len(line) > 120]
    assert long == []


@pytest.mark.parametrize("path", WHOLE, ids=_name)
def test_knobs_are_on_top(path: Path) -> None:
    config = json.loads(path.read_text())
    components = [number for number, value in enumerate(config.values()) if _is_component(value)]
    knobs = [number for number, value in enumerate(config.values()) if _is_knob(value)]
    assert max(knobs) < min(components)
    assert next(iter(config)) == "imports"


@pytest.mark.parametrize("path", [*CONFIGS, BUNDLES / "comparison_score.json"], ids=_name)
def test_quiet_is_a_switch_of_every_bar(path: Path) -> None:
    bars = re.findall(r'"_target_": "doll_monai\.handlers\.ProgressHandler",(.*?)\}', path.read_text(), re.S)
    assert all('"quiet": "@quiet"' in bar for bar in bars)
    assert len(bars) == (0 if path.name in ("multi_gpu_train.json", "gate.json") else 1)
    assert path not in WHOLE or json.loads(path.read_text())["quiet"] is False


def _is_component(value: Any) -> bool:
    return isinstance(value, dict) and "_target_" in value


def _is_knob(value: Any) -> bool:
    if isinstance(value, list):
        return all(_is_knob(item) for item in value)
    return not isinstance(value, dict) and not (isinstance(value, str) and value.startswith(("$", "@")))


@pytest.mark.parametrize("path", WHOLE, ids=_name)
def test_the_six_share_one_vocabulary(path: Path) -> None:
    words = TRAINING if path.name == "train.json" else INFERENCE
    assert words - set(json.loads(path.read_text())) == set()


def test_the_same_word_is_the_same_kind_of_thing() -> None:
    kinds: dict[str, set[str]] = {}
    for path in WHOLE:
        for name, value in json.loads(path.read_text()).items():
            if value is not None and not (isinstance(value, str) and value.startswith(("$", "@"))):
                kinds.setdefault(name, set()).add(type(value).__name__)
    assert {name: found for name, found in kinds.items() if len(found) > 1} == {}


def test_a_image_is_read_in_the_same_words_everywhere() -> None:
    blocks = {path: IMAGE.findall(path.read_text()) for path in WHOLE}
    assert all(len(found) == 1 for found in blocks.values())
    assert len({re.sub(r"\n +", "\n", found[0]) for found in blocks.values()}) == 1
