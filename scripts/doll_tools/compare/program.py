"""Train and score every cell that is not finished, then write tables, curves and the page."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pandas as pd

from doll_monai.data.provenance import claim_folder
from doll_monai.utils.atomic import write_atomic
from doll_tools.compare.cells import CURVE, RECORD, SCORES, Cell, epochs
from doll_tools.compare.curves import draw_curves, rendered
from doll_tools.compare.image_scores import METRICS
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
        self, request: ComparisonRequest, tracking_uri: str | None, keep_weights: bool = False, quiet: bool = False
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
        for name, initial in request.initial.items():
            claim_folder(output / INITIALIZATIONS / f"{name}.json", initial.record(), "cells")
        for cell in request.cells:
            values = output / "values" / f"{cell.initialization}_{cell.tuning}.json"
            claim_folder(values, request.own_values(cell), f"cells {cell.initialization}/{cell.tuning}")
        self.runner = Runner(output, output / "mlruns", self.tracking_uri, self.quiet)
        facts = {
            "task": f"{request.task}, with {request.bundle}",
            "annotated images": ", ".join(map(str, request.shots)),
            "initializations": ", ".join(request.initial),
            "tunings": ", ".join(request.tunings),
            "seeds": request.seeds,
            "cells": f"{len(request.cells)}, each a run below this one, beside those of earlier commands",
        }
        description = f"Few-shot benchmark. {opening(output / PAGE)}\n\n{fact_list(facts)}"
        self.runner.run(self.stages.preparing(), description)
        self.stages.write_inputs()
        self._by_stage = {self.stages.scoring(cell).name: cell for cell in request.cells}
        self._started, self._finished = time.monotonic(), 0
        try:
            self.runner.run(self._cell_stages(), description, self._after)
        finally:
            scores, files = self._report()
        self.runner.log_metrics(scores, files)
        return output / PAGE

    def _cell_stages(self) -> list[Stage]:
        stages = []
        for cell in self.request.cells:
            training, scoring = self.stages.training(cell), self.stages.scoring(cell)
            if self.runner.is_done(scoring):
                training.outputs = [training.folder]  # its weights may be gone
            stages += [training, scoring]
        return stages

    def _after(self, stage: Stage, record: dict[str, Any]) -> None:
        """Once a cell is scored, keep what it measured and delete its weights."""
        cell = self._by_stage.get(stage.name)
        if cell is None:
            self._training = record
            return
        folder = self.stages.folder(cell)
        if not (folder / RECORD).is_file():
            self._finish(cell, folder, self._training, record)
            self._finished += 1
            left = sum(not (self.stages.folder(other) / RECORD).is_file() for other in self.request.cells)
            each = (time.monotonic() - self._started) / self._finished
            print(f"{left} cells left, {each:.0f} s each: about {left * each / 60:.0f} min.", flush=True)
        for name in () if self.keep_weights else WEIGHTS:
            (folder / name).unlink(missing_ok=True)

    def _finish(self, cell: Cell, folder: Path, training: dict[str, Any], scoring: dict[str, Any]) -> None:
        """Write a cell's curve and record, the tables, and its scores into its MLflow run."""
        trainable, total = self.request.parameters[cell.initialization, cell.tuning]
        run_id, client = training["run_id"], self.runner.client
        record = {"task": self.request.task, **cell._asdict(), "values": self.request.own_values(cell)}
        record |= {"trainable_parameters": trainable, "total_parameters": total, "run_id": run_id}
        record |= {"seconds": training["seconds"], "scoring_seconds": scoring["seconds"]}
        record |= {"command": training["command"], "scoring_command": scoring["command"]}
        write_atomic(folder / CURVE, self._curve(run_id).to_csv(index=False).encode())
        write_atomic(folder / RECORD, (json.dumps(record, indent=2) + "\n").encode())  # last: the cell is finished
        results = Results(self.output)
        results.write()
        for name, value in cell._asdict().items():
            client.log_param(run_id, f"cell.{name}", value)
        for row in results.table[(results.table[SEEDED] == list(cell)).all(axis=1)].to_dict("records"):
            for metric in METRICS:
                client.log_metric(run_id, f"{row['split']}.{row['class']}.{metric}", row[metric])
        client.log_artifact(run_id, str(folder / SCORES / "overlays.png"))

    def _curve(self, run_id: str) -> pd.DataFrame:
        """Scores on valid images by iteration, as the bundle's validation tracked them."""
        columns = {}
        for name in ("iou", "dice"):
            history = self.runner.client.get_metric_history(run_id, name)
            columns[name] = {point.step: point.value for point in sorted(history, key=lambda point: point.timestamp)}
        curve = pd.DataFrame(columns).rename_axis("iteration").sort_index().reset_index()
        return curve.assign(iteration=curve["iteration"] * epochs(self.request.iterations)[1])

    def _report(self) -> tuple[dict[str, float], list[Path]]:
        """Write the tables, the curves and the page of the finished cells; the scores for MLflow, and the files."""
        results = Results(self.output)
        files = results.write()
        if not files:
            return {}, []
        curves = {f"{n} annotated image{'s' * (n > 1)}": part for n, part in results.curves.groupby("shots")}
        drawn = rendered(draw_curves(curves), ("png", "svg"))
        contents = {f"curves.{kind}": content for kind, content in drawn.items()}
        contents[PAGE] = page(self.request.settings, results).encode()
        for name, content in contents.items():
            write_atomic(self.output / name, content)
        scores: dict[str, float] = {}
        for row in results.summary[results.summary["class"] == ALL].to_dict("records"):
            cell = f"{row['split']}.{row['initialization']}.{row['tuning']}.shots{row['shots']}"
            scores |= {f"{cell}.{metric}": float(row[metric]) for metric in METRICS}
        return scores, [*files, *results.write_statistics(), *(self.output / name for name in contents)]
