"""The figures of a run, as a dictionary and as ``summary.json``."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from doll_monai.findings import FINDINGS
from doll_monai.handlers.localization import COLUMNS
from doll_monai.utils.atomic import write_atomic
from doll_tools.evaluate.summary import localization_summary
from doll_tools.report.run_folder import RunFolder, finite


def summarize(folder: RunFolder) -> dict[str, Any]:
    """The figures of a run; what was not computed is left out, what is no number is None.

    Returns:
        ``classifier``: ``mean_auroc``, ``auroc`` (observation to value), ``observations`` (number in the mean).
        ``labels``: ``count``, ``unreadable`` (images without a label), ``completeness_error_median``, and those of
        ``localization_summary``. The task's name: ``dice_adapter``, ``dice_scratch``, ``iou_adapter``,
        ``iou_scratch``, ``images``. ``seconds``: stage to seconds; ``seconds_total``.
    """
    seconds = {str(stage.get("name")): finite(stage.get("seconds")) for stage in folder.stages}
    parts = {"classifier": _classifier(folder), "labels": _labels(folder), folder.task: _task(folder)}
    total = round(sum(value or 0.0 for value in seconds.values()), 1)
    return {name: figures for name, figures in parts.items() if figures} | {"seconds": seconds, "seconds_total": total}


def write_summary(run: str | os.PathLike[str]) -> Path:
    """Write ``summary.json`` into the run's folder and return its path."""
    path = Path(run) / "summary.json"
    write_atomic(path, (json.dumps(summarize(RunFolder(run)), indent=2, allow_nan=False) + "\n").encode())
    return path


def _classifier(folder: RunFolder) -> dict[str, Any]:
    metrics = folder.metrics("classifier/metrics.csv")
    names = {name: f"auroc_{name.replace(' ', '_')}" for name in FINDINGS}
    auroc = {name: metrics[key] for name, key in names.items() if key in metrics}
    number = metrics.get("auroc_observations") or len(auroc)
    return {"mean_auroc": metrics.get("auroc"), "auroc": auroc, "observations": int(number)} if metrics else {}


def _labels(folder: RunFolder) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    table = folder.table("labels/labels.csv", ("image", "completeness_error"))
    if table is not None:
        figures["count"] = table["image"].nunique()
        figures["completeness_error_median"] = finite(table["completeness_error"].median())
    records = folder.records("labels/dataset.json")
    if records:
        figures["count"] = len(records)
    failures = folder.table("labels/failures.csv")
    if failures is not None:
        figures["unreadable"] = len(failures)
    tables = {part: folder.table(f"localization/{part}/localization.csv", COLUMNS) for part in ("test", "all")}
    for images, test in tables.items():
        if test is not None:
            validation = folder.table("localization/validation/localization.csv", COLUMNS)
            return figures | {"localized_images": images, **_without_nan(localization_summary(test, validation))}
    return figures


def _task(folder: RunFolder) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for network in ("adapter", "scratch"):
        metrics = folder.metrics(f"{folder.task}/{network}/evaluation/metrics.csv")
        figures |= {f"{name}_{network}": metrics[name] for name in ("dice", "iou") if name in metrics}
        images = folder.table(f"{folder.task}/{network}/evaluation/dice_raw.csv")
        if images is not None:
            figures.setdefault("images", len(images))
    return figures


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    return finite(value) if isinstance(value, float) else value
