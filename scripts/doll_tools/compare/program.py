"""Train and score every cell that is not finished, then write tables, curves and the page."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from doll_monai.data.provenance import claim_folder
from doll_monai.handlers.image_scores import METRICS
from doll_monai.utils.atomic import write_atomic
from doll_monai.utils.errors import InputError
from doll_tools.compare.cells import Cell, epochs
from doll_tools.compare.curves import draw_curves
from doll_tools.compare.page import figures, page, tables
from doll_tools.compare.request import ComparisonRequest
from doll_tools.compare.results import RECORD, Results, read_cells, write_cell
from doll_tools.compare.stages import ComparisonStages
from doll_tools.pipeline.description import fact_list, opening
from doll_tools.pipeline.runner import Runner
from doll_tools.pipeline.stages import Stage

PAGE = "comparison.md"
WEIGHTS = ("training_state.pt", "model.pt")
"""What of a finished cell is deleted unless it is asked for: a few hundred MB a cell."""


class Comparison:
    """Runs a request and writes everything into its output.

    Several commands may work on one output one after the other, with other shots, starts or tunings; all else must be
    the same, and the tables are of all their cells. Cells whose own values were changed are trained anew.

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
        self.request = request
        self.keep_weights = keep_weights
        self.stages = ComparisonStages(request)
        self.tracking_uri = tracking_uri
        self.quiet = quiet

    def run(self) -> Path:
        """Run what is not finished.

        Returns:
            the page, ``comparison.md``.

        Raises:
            InputError: when the output holds cells with other settings, or a command fails.
        """
        request, output = self.request, self.request.output
        claim_folder(output / "settings.json", request.settings, "cells")
        for start in request.starts:
            claim_folder(output / "starts" / f"{start.name}.json", start.record(), "cells")
        self._check_other_cells()
        tracking = request.setup.folder / "configs" / "mlflow.json"
        self.runner = Runner(output, output / "mlruns", tracking, self.tracking_uri, self.quiet)
        description = self._description()
        self.runner.run(self.stages.preparing(), description)
        self.stages.write_datalists()
        self.stages.write_starts()
        self._by_stage = {self.stages.scoring(cell).name: cell for cell in request.cells}
        self._started, self._finished = time.monotonic(), 0
        try:
            self.runner.run(self._cell_stages(), description, self._after)
        finally:
            scores, files = self._report()
        self.runner.log_metrics(scores, files)
        return output / PAGE

    def _description(self) -> str:
        request = self.request
        facts = {
            "task": f"{request.task}, with {request.bundle}",
            "annotated images": ", ".join(map(str, request.shots)),
            "starts": ", ".join(start.name for start in request.starts),
            "tunings": ", ".join(request.tunings),
            "seeds": request.seeds,
            "cells": f"{len(request.cells)}, each a run below this one, beside those of earlier commands",
        }
        return f"What a few annotated images bring. {opening(request.output / PAGE)}\n\n{fact_list(facts)}"

    def _check_other_cells(self) -> None:
        """Refuse to leave a finished cell beside others of its start and tuning that have other values."""
        asked = {cell.name: cell for cell in self.request.cells}
        values = {(cell.init, cell.tuning): self.request.own_values(cell) for cell in asked.values()}
        for name, record in sorted(read_cells(self.request.output).items()):
            key = record["init"], record["tuning"]
            if name not in asked and key in values and record["values"] != values[key]:
                raise InputError(
                    f"The cell {name} in {self.request.output} was trained with the values {record['values']}; "
                    f"ask for its shots and seed as well, give {'/'.join(key)} these values, or choose another output."
                )

    def _cell_stages(self) -> list[Stage]:
        stages = []
        for cell in self.request.cells:
            training, scoring = self.stages.training(cell), self.stages.scoring(cell)
            if self.runner.is_done(scoring):
                training.outputs = [training.folder]  # its weights may be gone
            stages += [training, scoring]
        return stages

    def _after(self, stage: Stage, record: dict[str, Any]) -> None:
        cell = self._by_stage.get(stage.name)
        if cell is None:
            self._training = record
            return
        folder = self.stages.folder(cell)
        if not (folder / RECORD).is_file():
            self._finish(cell, self._training, record)
            self._say_time_left()
        if not self.keep_weights:
            for name in WEIGHTS:
                (folder / name).unlink(missing_ok=True)

    def _finish(self, cell: Cell, training: dict[str, Any], scoring: dict[str, Any]) -> None:
        """Keep what was measured, in the folder, in the tables and in the cell's run."""
        trainable, total = self.request.parameters[cell.init, cell.tuning]
        record = {
            "task": self.request.task,
            **asdict(cell),
            "values": self.request.own_values(cell),
            "trainable_parameters": trainable,
            "total_parameters": total,
            "seconds": training["seconds"],
            "scoring_seconds": scoring["seconds"],
            "run_id": training["run_id"],
        }
        write_cell(self.stages.folder(cell), record, self._curve(training["run_id"]))
        results = Results(self.request.output)
        results.write()
        self._track(cell, training["run_id"], results)

    def _curve(self, run_id: str) -> pd.DataFrame:
        """Scores on valid images by iteration, as the bundle's validation tracked them."""
        _, length = epochs(self.request.iterations)
        columns = {}
        for name in ("iou", "dice"):
            history = self.runner.client.get_metric_history(run_id, name)
            columns[name] = {point.step: point.value for point in sorted(history, key=lambda point: point.timestamp)}
        curve = pd.DataFrame(columns).rename_axis("iteration").sort_index().reset_index()
        return curve.assign(iteration=curve["iteration"] * length)

    def _track(self, cell: Cell, run_id: str, results: Results) -> None:
        client = self.runner.client
        for name, value in asdict(cell).items():
            client.log_param(run_id, f"cell.{name}", value)
        table = results.table()
        own = table[(table[["init", "tuning", "shots", "seed"]] == list(asdict(cell).values())).all(axis=1)]
        for row in own.to_dict("records"):
            for metric in METRICS:
                client.log_metric(run_id, f"{row['split']}.{row['class']}.{metric}", row[metric])
        client.log_artifact(run_id, str(self.stages.folder(cell) / "scores" / "overlays.png"))

    def _say_time_left(self) -> None:
        self._finished += 1
        left = sum(not (self.stages.folder(cell) / RECORD).is_file() for cell in self.request.cells)
        each = (time.monotonic() - self._started) / self._finished
        print(f"{left} cells left, {each:.0f} s each: about {left * each / 60:.0f} min.", flush=True)

    def _report(self) -> tuple[dict[str, float], list[Path]]:
        """Write the tables, the curves and the page of the finished cells; the scores for MLflow, and the files."""
        output = self.request.output
        results = Results(output)
        files = results.write()
        if not files:
            return {}, []
        content = tables(results)
        for name in ("summary", "differences"):
            write_atomic(output / f"{name}.csv", content[name].round(5).to_csv(index=False).encode())
        for kind, drawing in draw_curves(results.curves).items():
            write_atomic(output / f"curves.{kind}", drawing)
        write_atomic(output / PAGE, page(self.request.settings, results, content).encode())
        names = ("summary.csv", "differences.csv", "curves.png", "curves.svg", PAGE)
        return figures(content["summary"]), [*files, *(output / name for name in names)]
