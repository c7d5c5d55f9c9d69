"""``pipeline.json``, and what MLflow says about a pipeline: what was run, on what, and what came out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import monai
import torch
from mlflow import MlflowClient

import doll_monai
from doll_monai.inferers.autocast import preferred_dtype
from doll_monai.utils.atomic import write_atomic


def describe(
    chexpert: Path, task: str, task_data: Path, preset: str, values: Mapping[str, Any], tracking_uri: str
) -> dict[str, Any]:
    """What a pipeline is run with: data, preset and its values, versions, device and precision."""
    kind = "cuda" if torch.cuda.is_available() else "cpu"
    name = torch.cuda.get_device_name() if kind == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    return {
        "preset": preset,
        "chexpert": str(chexpert),
        "task": task,
        "task_data": str(task_data),
        "mlflow": tracking_uri,
        "members": values["members"],
        "image_size": values["image_size"],
        "versions": {"doll_monai": doll_monai.__version__, "torch": torch.__version__, "monai": monai.__version__},
        "device": f"{name}, {str(preferred_dtype(kind)).removeprefix('torch.')}",
    }


def write_record(output: Path, settings: Mapping[str, Any], stages: Sequence[Mapping[str, Any]]) -> None:
    """Write ``pipeline.json`` into the run's folder."""
    written = datetime.now(timezone.utc).isoformat(timespec="seconds")
    content = json.dumps({**settings, "written": written, "stages": list(stages)}, indent=2) + "\n"
    write_atomic(output / "pipeline.json", content.encode())


def opening(page: Path) -> str:
    """Markdown: which page to open first, and where it lies."""
    return f"**Open first: `{page.name}`** below Artifacts, when all is done; the same file is `{page}`."


def pipeline_facts(settings: Mapping[str, Any]) -> dict[str, str]:
    """What a pipeline is run with, of ``describe``, in a few words."""
    return {
        "preset": f"{settings['preset']}, {' x '.join(map(str, settings['image_size']))} pixels",
        "members of the committee": ", ".join(settings["members"]),
        "images": Path(settings["chexpert"]).name,
        "task": f"{settings['task']}, images with masks: {Path(settings['task_data']).name}",
        "computed on": settings["device"],
    }


def fact_list(facts: Mapping[str, Any]) -> str:
    """Markdown: a name and a value a line; numbers with three decimals, or whole."""
    lines = []
    for name, value in facts.items():
        digits = 0 if isinstance(value, float) and value.is_integer() else 3
        lines.append(f"- {name}: {value:.{digits}f}" if isinstance(value, float) else f"- {name}: {value}")
    return "\n".join(lines)


def stage_list(client: MlflowClient, records: Sequence[Mapping[str, Any]]) -> str:
    """Markdown: the stages of ``Runner.run`` in order, their time, and links to the runs of those that are tracked."""
    lines = []
    for number, record in enumerate(records, start=1):
        name = str(record["name"])
        if record["run_id"]:
            experiment = client.get_run(record["run_id"]).info.experiment_id
            name = f"[{name}](#/experiments/{experiment}/runs/{record['run_id']}) in {record['experiment']}"
        lines.append(f"{number}. {name}, {duration(record['seconds'])}")
    return "\n".join(lines)


def single_numbers(summary: Mapping[str, Any]) -> dict[str, float]:
    """The single numbers of ``summary.json``, named ``part.figure``."""
    return {
        f"{part}.{name}": float(value)
        for part, figures in summary.items()
        if isinstance(figures, dict)
        for name, value in figures.items()
        if isinstance(value, (int, float))
    }


def duration(seconds: float) -> str:
    """A time span in the unit that a person would use: ``45 s``, ``3 min``, ``2.5 h``."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5970 else f"{seconds / 3600:.1f} h"
