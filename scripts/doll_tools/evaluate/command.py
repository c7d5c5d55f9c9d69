"""``doll evaluate``: are labels worth pre-training on? Ground truth, chance, the location prior, random networks."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from typing import Any

import pandas as pd

from doll_monai.data.datalist import SECTIONS
from doll_monai.metrics.intervals import RESAMPLES
from doll_monai.utils.atomic import write_atomic
from doll_monai.utils.errors import InputError
from doll_tools.evaluate.agreement import LIKENESS
from doll_tools.evaluate.decision import Decision, decide
from doll_tools.evaluate.page import page
from doll_tools.evaluate.request import EvaluationRequest
from doll_tools.evaluate.scores import ALL, read_pairs, score_table
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

    Raises:
        InputError: when an argument is wrong, the bundle's run fails, or no positive observation has ground truth.
    """
    if not isinstance(strict, bool):
        raise InputError(f"strict must be true or false, not '{strict}'.")
    if resamples < 1000:
        raise InputError(f"resamples must be 1000 or more for a 95 % interval, not {resamples}.")
    if image_size is not None:
        values["image_size"] = [image_size] * 2 if isinstance(image_size, int) else image_size
    values = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
    values["seed"] = seed
    request = EvaluationRequest(chexpert, checkpoint, output, ground_truth, datalist, committee, sections, values)

    folder = request.output
    runner = Runner(folder, folder / "mlruns", tracking_uri, quiet)
    runner.run([request.stage()], f"Label quality check. {opening(folder / PAGE)}")
    pairs = read_pairs(folder / "scores", request.records, request.regions)
    if pairs.empty:
        raise InputError("{ground_truth} has no observation that is positive in {datalist}.".format(**request.paths))
    table = score_table(pairs, request.sources, resamples, seed)
    decisions = [decide(pairs, name, resamples, seed) for name in SECTIONS if name in set(pairs["section"])]
    settings = {name: str(path) for name, path in request.paths.items()} | values | {"resamples": resamples}
    figures = {
        "settings": settings,
        "decisions": [decision.figures() for decision in decisions],
        "scores": table.to_dict("records"),
    }
    contents = {
        "pairs.csv": pairs.to_csv(index=False),
        "evaluation.csv": table.round(5).to_csv(index=False),
        "evaluation.json": json.dumps(_without_nan(figures), indent=2) + "\n",
        PAGE: page(table, decisions),
    }
    for name, content in contents.items():
        write_atomic(folder / name, content.encode())
    runner.log_metrics(_metrics(table, decisions), [folder / name for name in contents])
    print(f"{contents[PAGE]}\n{folder / PAGE}")
    if strict and not decisions[-1].passed:
        sys.exit(NOT_PASSED)


def _metrics(table: pd.DataFrame, decisions: Sequence[Decision]) -> dict[str, float]:
    """The figures of all observations together, for MLflow."""
    metrics = {f"{decision.section}.passed": float(decision.passed) for decision in decisions}
    for row in table[table["observation"] == ALL].to_dict("records"):
        for name in (name for name in TRACKED if not math.isnan(row[name])):
            metrics[f"{row['section']}.{row['source']}.{name}"] = row[name]
    return metrics


def _without_nan(value: Any) -> Any:
    """The same with None for what is no number, which JSON does not have."""
    return json.loads(json.dumps(value), parse_constant=lambda _: None)
