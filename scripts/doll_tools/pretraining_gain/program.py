"""Draw, label, pre-train and compare what is not finished, then write table, plot and page."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

from doll_monai.data.provenance import claim_folder
from doll_monai.utils.atomic import write_whole
from doll_monai.utils.json_object import read_json_object
from doll_tools.compare.results import Results
from doll_tools.pipeline.description import fact_list, opening
from doll_tools.pipeline.runner import Runner
from doll_tools.pipeline.stages import Stage
from doll_tools.pretraining_gain.gain import PretrainedPoint, gain_table
from doll_tools.pretraining_gain.page import page
from doll_tools.pretraining_gain.plot import draw_gain
from doll_tools.pretraining_gain.request import GainRequest, Point
from doll_tools.pretraining_gain.stages import COMPARISON, GainStages

PAGE = "gain.md"
STATE = "training_state.pt"
"""What of a finished pre-training is deleted."""


class GainMeasurement:
    """Runs a request and writes everything into its output.

    Several commands may work on one output one after the other, with other labels or numbers of films; the table is of
    those of the last one.

    Args:
        request: what is measured.
        command: as it was given, for the page.
        tracking_uri: of MLflow; ``mlruns/mlruns.db`` in the output when None.
        quiet: show no progress.
    """

    def __init__(
        self, request: GainRequest, command: str, tracking_uri: str | None = None, quiet: bool = False
    ) -> None:
        self.request = request
        self.command = command
        self.tracking_uri = tracking_uri
        self.quiet = quiet

    def run(self) -> Path:
        """Run what is not finished.

        Returns:
            the page, ``gain.md``.

        Raises:
            InputError: when the output holds networks with other settings, or a command fails.
        """
        request, output = self.request, self.request.output
        claim_folder(output / "settings.json", request.settings, "networks")
        runner = Runner(output, output / "mlruns", request.bundles / "mlflow.json", self.tracking_uri, self.quiet)
        self.stages = GainStages(request, runner.tracking_uri)
        self._states = {f"pretrain_{point.name}": self.stages.folder(point) / STATE for point in request.points}
        facts = {"pre-trained networks": ", ".join(point.name for point in request.points)}
        description = f"When pre-training pays. {opening(output / PAGE)}\n\n{fact_list(facts)}"
        runner.run(self.stages.preparing(), description)
        self.stages.write_inputs()
        training = [self.stages.pretraining(point) for point in request.points]
        runner.run(training, description, self._after)
        runner.run([self.stages.comparison()], description)
        files = self._report()
        runner.log_metrics({}, files)
        return output / PAGE

    def _after(self, stage: Stage, _record: dict[str, Any]) -> None:
        self._states[stage.name].unlink(missing_ok=True)

    def _report(self) -> list[Path]:
        output, request = self.request.output, self.request
        points = list(map(self._measured, request.points))
        table = gain_table(Results(output / COMPARISON), points, request.iterations)
        contents = {"gain.csv": table.round(5).to_csv(index=False).encode()}
        contents |= {f"gain.{kind}": drawing for kind, drawing in draw_gain(table).items()}
        text = page(table, request.settings, self.command, datetime.date.today().isoformat())
        contents[PAGE] = text.encode()
        for name, content in contents.items():
            write_whole(output / name, content)
        return [output / name for name in contents]

    def _measured(self, point: Point) -> PretrainedPoint:
        """A point with the quality that its labels have."""
        labels = point.labels
        quality = float(read_json_object(self.stages.quality_file(labels))["measured"])
        wanted = f"{labels.quality:g}" if isinstance(labels.quality, float) else labels.quality or ""
        return PretrainedPoint(point.name, labels.name, wanted, quality, point.films)
