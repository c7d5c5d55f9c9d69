"""Run the bundle, join its tables, write and track the evaluation."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from doll_monai.data.datalist import SECTIONS, write_atomic
from doll_monai.handlers.agreement import LIKENESS
from doll_monai.handlers.tracked_parameters import shown_parameters
from doll_monai.metrics.intervals import RESAMPLES
from doll_monai.metrics.localization import MIN_TABLE_PAIRS, pair_count
from doll_monai.utils.errors import InputError
from doll_tools.evaluate.page import page
from doll_tools.evaluate.pairs import ALL, read_pairs
from doll_tools.evaluate.request import EvaluationRequest
from doll_tools.evaluate.scores import score_table
from doll_tools.evaluate.verdict import Verdict, judge
from doll_tools.pipeline.record import opening
from doll_tools.pipeline.runner import Runner

PAGE = "evaluation.md"
TRACKED = ["iou", "hit", "difference", "iou_chosen_share", "completeness_median", "completeness_p95", *LIKENESS]


@dataclass
class Evaluation:
    """Scores the labels of a request and writes ``evaluation.{csv,json,md}`` and ``pairs.csv`` into its output.

    Attributes:
        request: what is evaluated.
        sources: those to show; all when None.
        choose_on: section on whose images shares are chosen for the other sections' ``iou_chosen_share``.
        resamples, seed: of the intervals.
        tracking_uri: of MLflow; ``mlruns/mlruns.db`` in the output when None.
        quiet: show no progress.

    Raises:
        InputError: for an unknown source or section.
    """

    request: EvaluationRequest
    sources: Sequence[str] | None = None
    choose_on: str | None = None
    resamples: int = RESAMPLES
    seed: int = 0
    tracking_uri: str | None = None
    quiet: bool = False

    def __post_init__(self) -> None:
        known, output = self.request.sources, self.request.output
        unknown = sorted(set(self.sources or ()) - set(known))
        if unknown:
            raise InputError(f"There is no source {', '.join(unknown)}; there are: {', '.join(known)}.")
        if self.choose_on is not None and self.choose_on not in self.request.records:
            found = ", ".join(self.request.records)
            raise InputError(f"Nothing can be chosen on '{self.choose_on}'; sections with known places: {found}.")
        if self.resamples < 1000:
            raise InputError(f"resamples must be 1000 or more for a 95 % interval, not {self.resamples}.")
        self.runner = Runner(output, output / "mlruns", self.tracking_uri, self.quiet)

    def run(self) -> Verdict:
        """Evaluate, print the page and return the verdict of the images furthest from the classifiers' training.

        Raises:
            InputError: when the bundle's run fails, or no positive observation has a known place.
        """
        request = self.request
        about = f"How well labels find known places. {opening(request.output / PAGE)}"
        (record,) = self.runner.run([request.stage()], about)
        pairs = read_pairs(request.output / "scores", request.records, request.places, self.choose_on)
        if pairs.empty:
            raise InputError(f"No observation that is positive in {request.datalist} has a place in {request.truth}.")
        shown = [name for name in request.sources if name in (self.sources or request.sources) or name == "consensus"]
        table = score_table(pairs, shown, self.resamples, self.seed)
        sections = [name for name in SECTIONS if name in set(pairs["section"])]
        verdicts = [judge(pairs, section, self.resamples, self.seed) for section in sections]
        text = page(table, verdicts, self._notes(pairs))
        files = self._write(pairs, table, verdicts, text)
        self._track(record["run_id"], table, verdicts, files)
        self.runner.log_metrics({}, files)
        print(text)
        return verdicts[-1]

    def _notes(self, pairs: pd.DataFrame) -> list[str]:
        if self.choose_on is None:
            return []
        count = pair_count(pairs[pairs["section"] == self.choose_on])
        if count >= MIN_TABLE_PAIRS:
            return [f"Chosen shares: each source's best on {self.choose_on} images, for the others."]
        return [f"No share was chosen: {self.choose_on} has {count} pairs, {MIN_TABLE_PAIRS} are needed."]

    def _settings(self) -> dict[str, Any]:
        request = self.request
        names = ("chexpert", "datalist", "checkpoint", "truth", "committee")
        paths = {name: str(getattr(request, name)) for name in names}
        own = {"choose_on": self.choose_on, "resamples": self.resamples, "seed": self.seed}
        return {**paths, "sections": ",".join(request.records), **own, **dict(request.values)}

    def _write(self, pairs: pd.DataFrame, table: pd.DataFrame, verdicts: Sequence[Verdict], text: str) -> list[Path]:
        figures = {
            "settings": self._settings(),
            "verdicts": [verdict.figures() for verdict in verdicts],
            "scores": table.to_dict("records"),
        }
        contents = {
            "pairs.csv": pairs.to_csv(index=False),
            "evaluation.csv": table.round(5).to_csv(index=False),
            "evaluation.json": json.dumps(_without_nan(figures), indent=2, allow_nan=False) + "\n",
            PAGE: text,
        }
        for name, content in contents.items():
            write_atomic(self.request.output / name, content.encode())
        return [self.request.output / name for name in contents]

    def _track(self, scoring: str, table: pd.DataFrame, verdicts: Sequence[Verdict], files: Sequence[Path]) -> None:
        """A run of its own in MLflow beside the bundle's, below the same parent."""
        client = self.runner.client
        beside = client.get_run(scoring)
        run = client.create_run(
            beside.info.experiment_id,
            run_name=f"{self.request.output.name}_evaluation",
            tags={"mlflow.parentRunId": beside.data.tags["mlflow.parentRunId"]},
        )
        for name, value in shown_parameters(self._settings()).items():
            client.log_param(run.info.run_id, name, value)
        for row in table[table["observation"] == ALL].to_dict("records"):
            for name in TRACKED:
                if not math.isnan(row[name]):
                    client.log_metric(run.info.run_id, f"{row['section']}.{row['source']}.{name}", row[name])
        for verdict in verdicts:
            client.log_metric(run.info.run_id, f"{verdict.section}.passed", float(verdict.passed))
        for path in files:
            client.log_artifact(run.info.run_id, str(path))
        client.set_terminated(run.info.run_id)


def _without_nan(value: Any) -> Any:
    """The same with None for what is no number."""
    if isinstance(value, dict):
        return {str(key): _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
