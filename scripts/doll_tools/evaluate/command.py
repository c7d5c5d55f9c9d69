"""``doll evaluate``: are labels worth pre-training on? Ground truth, chance, the location prior, random networks."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from doll_monai.data.datalist import SECTIONS
from doll_monai.handlers.agreement import LIKENESS
from doll_monai.metrics.intervals import RESAMPLES
from doll_monai.utils.atomic import write_atomic
from doll_monai.utils.errors import InputError
from doll_tools.evaluate.decision import Decision, decide
from doll_tools.evaluate.page import page
from doll_tools.evaluate.pairs import read_pairs
from doll_tools.evaluate.request import EvaluationRequest
from doll_tools.evaluate.scores import ALL, score_table
from doll_tools.folders import bundles_folder
from doll_tools.pipeline.record import opening
from doll_tools.pipeline.runner import Runner

NOT_PASSED = 3
"""Exit code of a strict check that is not passed; a mistake in the arguments or data is 1."""
PAGE = "evaluation.md"
TRACKED = ["iou", "hit", "difference", "completeness_median", "completeness_p95", *LIKENESS]


def evaluate_labels(
    chexpert: str,
    checkpoint: str,
    output: str,
    ground_truth: str | None = None,
    datalist: str | None = None,
    committee: str | None = None,
    image_size: int | Sequence[int] | None = None,
    sections: str | Sequence[str] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    strict: bool = False,
    tracking_uri: str | None = None,
    quiet: bool = False,
    **values: Any,
) -> None:
    """Label quality check: compare the labels' maps with ground truth, beside floors that know nothing of the image.

    Args:
        chexpert: folder of the images, in CheXpert's layout.
        checkpoint: the committee's model.pt.
        output: folder for evaluation.csv, evaluation.json, evaluation.md, pairs.csv and MLflow.
        ground_truth: truth.csv or boxes.csv, or CheXlocalize's JSON of masks; the first that is in chexpert by default.
        datalist: the images' dataset.json; that in chexpert by default.
        committee: configuration with network_def, see doll package committee; the bundle's own by default.
        image_size: one number or two, as in label generation.
        sections: with commas between; all of the datalist by default. Their images are never pooled.
        resamples: draws of the 95 % intervals, 1000 or more.
        seed: of the intervals and the randomized networks.
        strict: exit with code 3 unless the labels of the images furthest from training pass.
        tracking_uri: of MLflow; SQLite in output by default.
        quiet: show no progress.
        values: any value of the label generation bundle, such as ig_steps or foreground_share.
    """
    if not isinstance(strict, bool):
        raise InputError(f"strict must be true or false, not '{strict}'.")
    if resamples < 1000:
        raise InputError(f"resamples must be 1000 or more for a 95 % interval, not {resamples}.")
    folder = Path(str(chexpert)).resolve()
    regions = [folder / name for name in ("truth.csv", "boxes.csv")] if ground_truth is None else [_path(ground_truth)]
    size = {} if image_size is None else {"image_size": [image_size] * 2 if isinstance(image_size, int) else image_size}
    plain = {**size, **values, "seed": seed}
    request = EvaluationRequest(
        bundles=bundles_folder(),
        chexpert=folder,
        datalist=_path(datalist) if datalist else folder / "dataset.json",
        checkpoint=_path(checkpoint),
        ground_truth=next((path for path in regions if path.is_file()), regions[0]),
        output=_path(output),
        committee=_path(committee) if committee else None,
        sections=sections.split(",") if isinstance(sections, str) else sections,
        values={name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()},
    )
    decision = check_labels(request, resamples, seed, tracking_uri, quiet)
    if strict and not decision.passed:
        sys.exit(NOT_PASSED)


def check_labels(
    request: EvaluationRequest,
    resamples: int = RESAMPLES,
    seed: int = 0,
    tracking_uri: str | None = None,
    quiet: bool = False,
) -> Decision:
    """Run the bundle, join its tables, print and write ``evaluation.{csv,json,md}`` and ``pairs.csv``, track them.

    Returns:
        the decision by the images furthest from the classifiers' training.

    Raises:
        InputError: when the bundle's run fails, or no positive observation has ground truth.
    """
    output = request.output
    runner = Runner(output, output / "mlruns", tracking_uri, quiet)
    runner.run([request.stage()], f"Label quality check. {opening(output / PAGE)}")
    pairs = read_pairs(output / "scores", request.records, request.regions)
    if pairs.empty:
        raise InputError(f"{request.ground_truth} has no observation that is positive in {request.datalist}.")
    table = score_table(pairs, request.sources, resamples, seed)
    sections = [name for name in SECTIONS if name in set(pairs["section"])]
    decisions = [decide(pairs, section, resamples, seed) for section in sections]
    text = page(table, decisions)
    names = ("chexpert", "datalist", "checkpoint", "ground_truth", "committee")
    settings = {**{name: str(getattr(request, name)) for name in names}, **request.values, "resamples": resamples}
    figures = {"settings": settings, "decisions": [decision.figures() for decision in decisions]}
    contents = {
        "pairs.csv": pairs.to_csv(index=False),
        "evaluation.csv": table.round(5).to_csv(index=False),
        "evaluation.json": json.dumps(_without_nan({**figures, "scores": table.to_dict("records")}), indent=2) + "\n",
        PAGE: text,
    }
    for name, content in contents.items():
        write_atomic(output / name, content.encode())
    runner.log_metrics(_metrics(table, decisions), [output / name for name in contents])
    print(f"{text}\n{output / PAGE}")
    return decisions[-1]


def _metrics(table: pd.DataFrame, decisions: Sequence[Decision]) -> dict[str, float]:
    """The figures of all observations together, for MLflow."""
    metrics = {f"{decision.section}.passed": float(decision.passed) for decision in decisions}
    for row in table[table["observation"] == ALL].to_dict("records"):
        for name in (name for name in TRACKED if not math.isnan(row[name])):
            metrics[f"{row['section']}.{row['source']}.{name}"] = row[name]
    return metrics


def _path(value: Any) -> Path:
    return Path(str(value)).resolve()


def _without_nan(value: Any) -> Any:
    """The same with None for what is no number."""
    if isinstance(value, dict):
        return {str(key): _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
