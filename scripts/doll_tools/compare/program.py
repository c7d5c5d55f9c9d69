"""Train and score every cell that is not finished, then write tables, curves and the page."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from doll_monai.data.provenance import claim_folder
from doll_monai.handlers.image_scores import METRICS
from doll_monai.utils.atomic import write_atomic
from doll_tools.compare.cells import CURVE, RECORD, Cell, epochs
from doll_tools.compare.curves import draw_curves, rendered
from doll_tools.compare.page import page
from doll_tools.compare.request import ComparisonRequest
from doll_tools.compare.results import Results
from doll_tools.compare.stages import INITIALIZATIONS, ComparisonStages
from doll_tools.compare.statistics import ALL, SEEDED
from doll_tools.pipeline.record import fact_list, opening
from doll_tools.pipeline.runner import Runner
from doll_tools.pipeline.stages import Stage

SETTINGS, PAGE = "settings.json", "comparison.md"
WEIGHTS = ("training_state.pt", "model.pt")
"""What of a finished cell is deleted unless it is asked for: a few hundred MB a cell."""


class Comparison:
    """Runs a request and writes everything into its output.

    Several commands may work on one output one after the other, with other shots, initializations or tunings; all else
    must be the same. The tables are of all their cells.

    Args:
        request: what is compared.
        tracking_uri: of MLflow; ``mlruns/mlruns.db`` in the output when None.
        keep_weights: whether ``model.pt`` of finished cells stays.
        quiet: show no progress.
    """

    def __init__(
        self,
        request: ComparisonRequest,
        tracking_uri: str | None = None,
        keep_weights: bool = False,
        quiet: bool = False,
    ) -> None:
        self.request, self.output, self.keep_weights = request, request.output, keep_weights
        self.stages = ComparisonStages(request)
        self.tracking_uri, self.quiet = tracking_uri, quiet

    def run(self) -> Path:
        """Run what is not finished.

        Returns:
            the page, ``comparison.md``.

        Raises:
            InputError: when the output holds cells with other settings, or a command fails.
        """
        request, output = self.request, self.output
        claim_folder(output / SETTINGS, request.settings, "cells")
        for name, initialization in request.initial.items():
            claim_folder(output / INITIALIZATIONS / f"{name}.json", initialization.record(), "cells")
        for cell in request.cells:
            values = output / "values" / f"{cell.initialization}_{cell.tuning}.json"
            claim_folder(values, request.own_values(cell), f"cells {cell.initialization}/{cell.tuning}")
        self.runner = Runner(output, output / "mlruns", self.tracking_uri, self.quiet)
        self.runner.run(self.stages.preparing(), self._description())
        self.stages.write_inputs()
        self._by_stage = {self.stages.scoring(cell).name: cell for cell in request.cells}
        self._started, self._finished = time.monotonic(), 0
        try:
            self.runner.run(self._cell_stages(), self._description(), self._after)
        finally:
            scores, files = self._report()
        self.runner.log_metrics(scores, files)
        return output / PAGE

    def _description(self) -> str:
        request = self.request
        facts = {
            "task": f"{request.task}, with {request.bundle}",
            "annotated images": ", ".join(map(str, request.shots)),
            "initializations": ", ".join(request.initial),
            "tunings": ", ".join(request.tunings),
            "seeds": request.seeds,
            "cells": f"{len(request.cells)}, each a run below this one, beside those of earlier commands",
        }
        return f"Few-shot benchmark. {opening(self.output / PAGE)}\n\n{fact_list(facts)}"

    def _cell_stages(self) -> list[Stage]:
        stages = []
        for cell in self.request.cells:
            training, scoring = self.stages.training(cell), self.stages.scoring(cell)
            if self.runner.is_done(scoring):
                training.outputs = [training.folder]  # its weights may be gone
            stages += [training, scoring]
        return stages

    def _after(self, stage: Stage, record: dict[str, Any]) -> None:
        """Keep what a cell measured, in its folder, in the tables and in its MLflow run, once it is scored."""
        cell = self._by_stage.get(stage.name)
        if cell is None:
            self._training = record
            return
        folder = self.stages.folder(cell)
        if not (folder / RECORD).is_file():
            self._finish(cell, self._training, record)
            self._say_time_left()
        for name in () if self.keep_weights else WEIGHTS:
            (folder / name).unlink(missing_ok=True)

    def _finish(self, cell: Cell, training: dict[str, Any], scoring: dict[str, Any]) -> None:
        trainable, total = self.request.parameters[cell.initialization, cell.tuning]
        record = {
            "task": self.request.task,
            **asdict(cell),
            "values": self.request.own_values(cell),
            "trainable_parameters": trainable,
            "total_parameters": total,
            "seconds": training["seconds"],
            "scoring_seconds": scoring["seconds"],
            "run_id": training["run_id"],
            "command": training["command"],
            "scoring_command": scoring["command"],
        }
        folder, run_id, client = self.stages.folder(cell), training["run_id"], self.runner.client
        write_atomic(folder / CURVE, self._curve(run_id).to_csv(index=False).encode())
        write_atomic(folder / RECORD, (json.dumps(record, indent=2) + "\n").encode())  # last: the cell is finished
        results = Results(self.output)
        results.write()
        for name, value in asdict(cell).items():
            client.log_param(run_id, f"cell.{name}", value)
        own = results.table[(results.table[SEEDED] == list(asdict(cell).values())).all(axis=1)]
        for row in own.to_dict("records"):
            for metric in METRICS:
                client.log_metric(run_id, f"{row['split']}.{row['class']}.{metric}", row[metric])
        client.log_artifact(run_id, str(folder / "scores" / "overlays.png"))

    def _curve(self, run_id: str) -> pd.DataFrame:
        """Scores on valid images by iteration, as the bundle's validation tracked them."""
        columns = {}
        for name in ("iou", "dice"):
            history = self.runner.client.get_metric_history(run_id, name)
            columns[name] = {point.step: point.value for point in sorted(history, key=lambda point: point.timestamp)}
        curve = pd.DataFrame(columns).rename_axis("iteration").sort_index().reset_index()
        return curve.assign(iteration=curve["iteration"] * epochs(self.request.iterations)[1])

    def _say_time_left(self) -> None:
        self._finished += 1
        left = sum(not (self.stages.folder(cell) / RECORD).is_file() for cell in self.request.cells)
        each = (time.monotonic() - self._started) / self._finished
        print(f"{left} cells left, {each:.0f} s each: about {left * each / 60:.0f} min.", flush=True)

    def _report(self) -> tuple[dict[str, float], list[Path]]:
        """Write the tables, the curves and the page of the finished cells; the scores for MLflow, and the files."""
        results = Results(self.output)
        files = results.write()
        if not files:
            return {}, []
        curves = {f"{n} annotated image{'s' * (n > 1)}": part for n, part in results.curves.groupby("shots")}
        contents = {
            f"curves.{kind}": drawing for kind, drawing in rendered(draw_curves(curves), ("png", "svg")).items()
        }
        contents[PAGE] = page(self.request.settings, results).encode()
        for name, content in contents.items():
            write_atomic(self.output / name, content)
        rows = results.summary[results.summary["class"] == ALL].to_dict("records")
        scores = {
            f"{row['split']}.{row['initialization']}.{row['tuning']}.shots{row['shots']}.{metric}": float(row[metric])
            for row in rows
            for metric in METRICS
        }
        return scores, [*files, *results.write_statistics(), *(self.output / name for name in contents)]
