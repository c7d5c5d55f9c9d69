"""From a folder in CheXpert's layout to a segmentation model, all stages in a row.

Example:
    doll run --chexpert data/CheXpert-v1.0-small --task lung --task_data data/lungs \
--output output/run --preset full
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from doll_tools.folders import bundles_folder

ROOT = bundles_folder().parent


def run_pipeline(
    chexpert: str,
    task_data: str,
    output: str,
    task: str = "lung",
    preset: str = "small",
    mlruns: str | None = None,
    quiet: bool = False,
) -> None:
    """Run every stage that is not done; the same command continues after an interruption.

    Args:
        chexpert: data set in CheXpert's layout: train.csv, valid.csv and images.
        task_data: folder with index.csv: images and their masks.
        output: folder for everything that is made.
        task: the segmentation task: lung.
        preset: demo, small or full; see scripts/doll_tools/pipeline/presets.
        mlruns: folder of MLflow's database and artifacts; mlruns beside the bundles by default.
        quiet: show no progress.
    """
    # heavy imports, after the options are known to be right
    from doll_tools.pipeline.description import fact_list, opening, pipeline_facts, stage_list
    from doll_tools.pipeline.plan import plan
    from doll_tools.pipeline.record import describe, write_record
    from doll_tools.pipeline.runner import Runner
    from doll_tools.pipeline.stages import Stage
    from doll_tools.report.figures.command import write_figure
    from doll_tools.report.page import write_report
    from doll_tools.report.run_folder import RunFolder
    from doll_tools.report.summary import write_summary

    folder = Path(output).resolve()
    stages = plan(ROOT, folder, Path(chexpert).resolve(), task, Path(task_data).resolve(), preset)
    tracked = Path(mlruns).resolve() if mlruns else ROOT / "mlruns"
    runner = Runner(
        folder, tracked, ROOT / "bundles" / "doll_cxr_segmentation" / "configs" / "mlflow.json", quiet=quiet
    )
    settings = describe(chexpert, task, task_data, preset, ROOT, runner.tracking_uri)
    print(f"Computing on {settings['device']}.")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    page = folder / "report.html"
    about = f"{opening(page)}\n\n{fact_list(pipeline_facts(settings))}"
    done: list[dict[str, Any]] = []

    def first_pictures(stage: Stage, record: dict[str, Any]) -> None:
        """The page as soon as there are labels to look at; the rest follows."""
        done.append(record)
        if stage.name == "generate_labels" and not page.is_file():
            write_record(folder, settings, done)
            print(f"  Labels to look at: {write_report(folder, page)}", flush=True)

    records = runner.run(stages, about, first_pictures)
    write_record(folder, settings, records)
    summary = write_summary(folder)
    report = write_report(folder, page)
    overview = write_figure("overview", RunFolder(folder), folder / "overview.png")
    figures = _figures(json.loads(summary.read_text()))
    key_figures = {name: value for name, value in figures.items() if not name.startswith("seconds.")}
    about += f"\n\n**Key figures**\n\n{fact_list(key_figures)}\n\n**Stages**\n\n{stage_list(runner.client, records)}"
    runner.log_metrics(figures, [summary, report, overview], about)
    print(f"Figures: {summary}\nReport:  {report}")


def _figures(summary: dict) -> dict[str, float]:
    """The summary's single numbers, named ``part.figure``."""
    return {
        f"{part}.{name}": float(value)
        for part, figures in summary.items()
        if isinstance(figures, dict)
        for name, value in figures.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }
