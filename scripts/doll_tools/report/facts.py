"""What was run, on what, and by which commands."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from doll_monai.data.datalist import SECTIONS, datalist_hash
from doll_tools.report.run_folder import RunFolder

MADE_BY = {
    "classifier": ("prepare_images", "train_", "assemble_committee", "evaluate_classifier"),
    "labels": ("generate_labels", "localize_"),
    "segmentation": ("pretrain", "prepare_task", "fine_tune_", "evaluate_adapter", "evaluate_scratch", "predict"),
    "training": ("train_", "pretrain", "fine_tune_"),
}
"""Part of the page to the stages, or beginnings of their names, whose results it shows."""


def run_settings(folder: RunFolder) -> list[tuple[str, str]]:
    """What was run, in words."""
    pipeline = folder.pipeline
    versions = pipeline.get("versions") or {}
    labels = folder.datalist("labels/provenance.json")
    rows = [
        ("Preset", pipeline.get("preset")),
        ("Members", ", ".join(pipeline.get("members") or [])),
        ("Image size", " \N{MULTIPLICATION SIGN} ".join(str(length) for length in pipeline.get("image_size") or [])),
        ("Device", pipeline.get("device")),
        ("Written", pipeline.get("written")),
        ("Versions", ", ".join(f"{name} {version}" for name, version in versions.items())),
        ("Images", pipeline.get("chexpert")),
        ("Their datalist", _data(folder, "chexpert/dataset.json")),
        ("Committee", _hash(labels.get("checkpoint_sha256"))),
        ("Images of the task", pipeline.get("task_data")),
        ("Their datalist", _data(folder, "task/dataset.json")),
        ("MLflow", pipeline.get("mlflow")),
    ]
    return [(name, str(value)) for name, value in rows if value]


def stages_of(folder: RunFolder, part: str) -> list[dict[str, Any]]:
    """The stages behind a part of the page, those that have a command."""
    beginnings = MADE_BY[part]
    return [stage for stage in folder.stages if str(stage.get("name")).startswith(beginnings) and stage.get("command")]


def page_command(run: Path, output: Path, comparisons: Path | None, images: int) -> str:
    """The command that makes this page again."""
    values = {"run": run, "output": output, "comparisons": comparisons, "images": images}
    arguments = [text for name, value in values.items() if value is not None for text in (f"--{name}", str(value))]
    return shlex.join(["python", "-m", "doll_tools.report", *arguments])


def _data(folder: RunFolder, name: str) -> str | None:
    """How many images, and the hash that says which."""
    sections = folder.datalist(name)
    if not sections:
        return None
    counts = ", ".join(f"{len(sections[section]):,} {section}" for section in SECTIONS if sections.get(section))
    return f"{counts}; {_hash(datalist_hash(folder.root / name))}"


def _hash(digits: Any) -> str | None:
    return f"SHA-256 {digits}" if digits else None
