"""What MLflow says about a run that has others below it: what to open first, what was run, what came out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlflow import MlflowClient


def duration(seconds: float) -> str:
    """``45 s``, ``12 min`` or ``3.5 h``."""
    if seconds >= 5400:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def opening(page: Path) -> str:
    """Markdown: which page to open first, and where it lies."""
    return f"**Open first: `{page.name}`** below Artifacts, when all is done; the same file is `{page}`."


def fact_list(facts: Mapping[str, Any]) -> str:
    """Markdown: a name and a value a line; numbers with three decimals, or whole."""
    return "\n".join(f"- {name}: {_number(value)}" for name, value in facts.items())


def stage_list(client: MlflowClient, records: Sequence[Mapping[str, Any]]) -> str:
    """Markdown: the stages in their order, their time, and links to the runs of those that are tracked.

    Args:
        client: of the store that has the runs.
        records: of ``Runner.run``.
    """
    lines = []
    for number, record in enumerate(records, start=1):
        name = str(record["name"])
        if record["run_id"]:
            experiment = client.get_run(record["run_id"]).info.experiment_id
            name = f"[{name}](#/experiments/{experiment}/runs/{record['run_id']}) in {record['experiment']}"
        lines.append(f"{number}. {name}, {duration(record['seconds'])}")
    return "\n".join(lines)


def pipeline_facts(settings: Mapping[str, Any]) -> dict[str, str]:
    """What a pipeline is run with, of ``record.describe``, in a few words."""
    return {
        "preset": f"{settings['preset']}, {' x '.join(map(str, settings['image_size']))} pixels",
        "members of the committee": ", ".join(settings["members"]),
        "images": Path(settings["chexpert"]).name,
        "task": f"{settings['task']}, images with masks: {Path(settings['task_data']).name}",
        "computed on": settings["device"],
    }


def _number(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if value.is_integer() else f"{value:.3f}"
