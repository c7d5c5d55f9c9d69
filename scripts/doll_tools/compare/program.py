"""Train and score every cell that is not finished, then write tables, curves and the page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from doll_monai.networks.parameters import count_parameters, describe_network
from doll_monai.networks.weights import file_hash
from doll_monai.utils.atomic import write_atomic
from doll_monai.utils.folder import claim_folder
from doll_tools.compare.cells import CURVE, RECORD, SCORES, Cell, epochs, values_of
from doll_tools.compare.curves import draw_curves, rendered
from doll_tools.compare.image_scores import METRICS
from doll_tools.compare.page import page
from doll_tools.compare.plan import INITIALIZATIONS, Plan
from doll_tools.compare.results import ALL, SEEDED, Results
from doll_tools.pipeline.record import fact_list, opening
from doll_tools.pipeline.runner import Runner
from doll_tools.pipeline.stages import Stage

SETTINGS, PAGE = "settings.json", "comparison.md"
WEIGHTS = ("training_state.pt", "model.pt")
"""What of a finished cell is deleted: a few hundred MB a cell."""


class Comparison:
    """Runs a plan and writes everything into its output.

    Several commands may work on one output one after the other, with other shots, initializations or tunings; all else
    must be the same. The tables are of all their cells. ``doll compare --help`` says what the arguments are.
    """

    def __init__(self, plan: Plan, tracking_uri: str | None, quiet: bool = False) -> None:
        self.plan, self.output = plan, plan.output
        self.tracking_uri, self.quiet = tracking_uri, quiet
        self._scored: dict[str, Cell] = {}

    def run(self) -> Path:
        """Run what is not finished, and return the page, ``comparison.md``.

        Raises:
            InputError: when the output holds cells with other settings, or a command fails.
        """
        plan, output = self.plan, self.output
        claim_folder(output / SETTINGS, plan.settings, "cells")
        for name, initial in plan.initial.items():
            record = {**initial._asdict(), "source": initial.source and file_hash(initial.source)}
            claim_folder(output / INITIALIZATIONS / f"{name}.json", record, "cells")
        for cell in plan.cells:
            values = output / "values" / f"{cell.initialization}_{cell.tuning}.json"
            own = values_of(cell, plan.bundle.cell_values)
            claim_folder(values, own, f"cells {cell.initialization}/{cell.tuning}")
        self.runner = Runner(output, output / "mlruns", self.tracking_uri, self.quiet)
        facts = {"task": f"{plan.task}, with {plan.bundle.name}"}
        facts |= {key: ", ".join(dict.fromkeys(str(getattr(cell, key)) for cell in plan.cells)) for key in Cell._fields}
        facts["cells"] = f"{len(plan.cells)}, each a run below this one, beside those of earlier commands"
        description = f"Few-shot benchmark. {opening(output / PAGE)}\n\n{fact_list(facts)}"
        self.runner.run(plan.preparing(), description)
        plan.write_inputs()
        stages: list[Stage] = []
        for cell in plan.cells:
            training, scoring = plan.training(cell), plan.scoring(cell)
            if self.runner.is_done(scoring):
                training.outputs = [training.folder]  # its weights may be gone
            stages += [training, scoring]
            self._scored[scoring.name] = cell
        try:
            self.runner.run(stages, description, self._after)
        finally:
            scores, files = self._report()
        self.runner.log_metrics(scores, files)
        return output / PAGE

    def _after(self, stage: Stage, record: dict[str, Any]) -> None:
        """Once a cell is scored, keep what it measured and delete its weights."""
        cell = self._scored.get(stage.name)
        if cell is None:
            self._training = record
            return
        folder = self.plan.folder(cell)
        if not (folder / RECORD).is_file():
            self._finish(cell, folder, self._training)
            left = sum(not (self.plan.folder(other) / RECORD).is_file() for other in self.plan.cells)
            each = self._training["seconds"] + record["seconds"]
            print(f"{left} cells left, {each:.0f} s each: about {left * each / 60:.0f} min.", flush=True)
        for name in WEIGHTS:
            (folder / name).unlink(missing_ok=True)

    def _finish(self, cell: Cell, folder: Path, training: dict[str, Any]) -> None:
        """Write a cell's curve and record, the tables, and its scores into its MLflow run."""
        plan, run_id, client = self.plan, training["run_id"], self.runner.client
        network = plan.bundle.build(cell)
        trainable, total = count_parameters(network)
        record = {"task": plan.task, **cell._asdict(), "values": values_of(cell, plan.bundle.cell_values)}
        record |= {"fold": plan.fold, "network": describe_network(network)}
        record |= {"trainable_parameters": trainable, "total_parameters": total, "run_id": run_id}
        record |= {key: training[key] for key in ("seconds", "command")}
        # scores on valid images by iteration, as the bundle's validation tracked them
        columns = {}
        for name in ("iou", "dice"):
            points = sorted(client.get_metric_history(run_id, name), key=lambda point: point.timestamp)
            columns[name] = {point.step * epochs(plan.iterations)[1]: point.value for point in points}
        curve = pd.DataFrame(columns).rename_axis("iteration").sort_index()
        write_atomic(folder / CURVE, curve.to_csv().encode())
        write_atomic(folder / RECORD, (json.dumps(record, indent=2) + "\n").encode())  # last: the cell is finished
        results = Results(self.output)
        results.write()
        for name, value in cell._asdict().items():
            client.log_param(run_id, f"cell.{name}", value)
        for row in results.table[(results.table[SEEDED] == list(cell)).all(axis=1)].to_dict("records"):
            for metric in METRICS:
                client.log_metric(run_id, f"{row['split']}.{row['class']}.{metric}", row[metric])
        client.log_artifact(run_id, str(folder / SCORES / "overlays.png"))

    def _report(self) -> tuple[dict[str, float], list[Path]]:
        """Write the tables, the curves and the page of the finished cells; the scores for MLflow, and the files."""
        results = Results(self.output)
        files = results.write()
        if not files:
            return {}, []
        curves = {f"{n} annotated image{'s' * (n > 1)}": part for n, part in results.curves.groupby("shots")}
        drawn = rendered(draw_curves(curves), ("png", "svg"))
        contents = {f"curves.{kind}": content for kind, content in drawn.items()}
        contents[PAGE] = page(self.plan.settings, results).encode()
        for name, content in contents.items():
            write_atomic(self.output / name, content)
        scores: dict[str, float] = {}
        for row in results.summary[results.summary["class"] == ALL].to_dict("records"):
            cell = "{split}.{initialization}.{tuning}.shots{shots}".format_map(row)
            scores |= {f"{cell}.{metric}": float(row[metric]) for metric in METRICS}
        return scores, [*files, *results.write_statistics(), *(self.output / name for name in contents)]
