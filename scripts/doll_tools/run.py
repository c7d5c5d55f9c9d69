"""``doll run``, ``doll demo`` and ``doll segment``."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from doll_monai.utils.errors import InputError
from doll_monai.utils.json_object import read_json_object
from doll_tools.arguments import bundles_folder, list_argument, path_argument
from doll_tools.phantom.dataset import write_dataset
from doll_tools.pipeline.plan import Plan, read_preset
from doll_tools.pipeline.record import (
    describe,
    fact_list,
    opening,
    pipeline_facts,
    single_numbers,
    stage_list,
    write_record,
)
from doll_tools.pipeline.runner import Runner
from doll_tools.pipeline.stages import Stage, bundle_run, find_task
from doll_tools.report.figures import write_figure
from doll_tools.report.page import write_report
from doll_tools.report.run_folder import RunFolder
from doll_tools.report.summary import write_summary


def run(
    chexpert: str,
    task_data: str,
    output: str,
    task: str = "lungs",
    preset: str = "small",
    organ_data: str | None = None,
    mlruns: str | None = None,
    quiet: bool = False,
) -> None:
    """Run every stage that is not done; the same command continues after an interruption.

    Args:
        chexpert: data set in CheXpert's layout: train.csv, valid.csv and images.
        task_data: folder with index.csv: images and their masks.
        output: folder for everything that is made.
        task: the segmentation task: lungs, lungs_heart, jsrt or infection.
        preset: demo, small, full, or a JSON file like those.
        organ_data: folder like task_data with masks of lungs and heart, of which a few are enough: labels are made
            again, each restricted to the organ in which the finding lies, and the network is pre-trained on these.
        mlruns: folder of MLflow's database and artifacts; the checkout's mlruns, or mlruns here, by default.
        quiet: show no progress.
    """
    folder, images, masks = (Path(path).resolve() for path in (output, chexpert, task_data))
    values = read_preset(preset)
    stages = Plan(folder, images, task, masks, values, path_argument(organ_data)).stages()
    checkout = bundles_folder().parent / "mlruns"
    store = path_argument(mlruns) or (checkout if checkout.is_dir() else Path("mlruns").resolve())
    runner = Runner(folder, store, quiet=quiet)
    settings = describe(images, task, masks, preset, values, runner.tracking_uri)
    print(f"Computing on {settings['device']}.")
    page, done = folder / "report.html", list[dict[str, Any]]()
    about = f"{opening(page)}\n\n{fact_list(pipeline_facts(settings))}"

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
    figures = single_numbers(json.loads(summary.read_text()))
    key_figures = {name: value for name, value in figures.items() if not name.startswith("seconds.")}
    about += f"\n\n**Key figures**\n\n{fact_list(key_figures)}\n\n**Stages**\n\n{stage_list(runner.client, records)}"
    runner.log_metrics(figures, [summary, report, overview], about)
    print(f"Figures: {summary}\nReport:  {report}")


def demo(output: str = "output/demo", task: str = "lungs", mlruns: str | None = None, quiet: bool = False) -> None:
    """Draw images and masks, and run all stages on them.

    The images are drawn by a program; numbers measured on them say nothing about patients.

    Args:
        output: folder for everything that is made; the images lie beside it, in phantom and phantom_task.
        task: the segmentation task: lungs or jsrt.
        mlruns: as for doll run.
        quiet: show no progress.
    """
    folder = Path(output).resolve()
    images, masks = folder.parent / "phantom", folder.parent / "phantom_task"
    for path, count, seed in ((images, 600, 0), (masks, 120, 1)):
        if not (path / "train.csv").is_file():
            write_dataset(path, count=count, seed=seed, size=256)
    run(str(images), str(masks), str(folder), task, "demo", None, mlruns, quiet)
    print(f"Open {folder / 'report.html'}; to segment your own radiographs with what it learnt from drawn ones:")
    print(f"  doll segment IMAGES --task {task} --run {shlex.quote(output)} --output MASKS")


def segment(
    images: str, output: str, task: str = "lungs", run: str | None = None, checkpoint: str | None = None, **values: Any
) -> None:
    """Write masks and overlays of all radiographs in a folder: the inference of the task's bundle.

    Args:
        images: folder of radiographs: PNG, JPEG, TIFF, DICOM, NIfTI, MetaImage, NRRD.
        output: folder for the masks, each named after its image.
        task: lungs, lungs_heart, jsrt or infection.
        run: folder of a finished doll run or doll demo whose network is used.
        checkpoint: a model.pt of the bundle's own network instead.
        values: any value of the bundle, such as image_size.
    """
    bundle = bundles_folder() / find_task(task).bundle
    configs = [bundle / "configs" / "inference.json"]
    model = path_argument(checkpoint)
    if run is not None:
        folder = Path(run).resolve()
        settings = read_json_object(folder / "pipeline.json", "give --run the folder of a finished doll run")
        configs.append(folder / "configs" / "task_network.json")
        model = model or folder / task / "adapter" / "model.pt"
        values = {"image_size": settings["image_size"], **values}
    if model is None:
        raise InputError("Give --run, the folder of a finished doll run, or --checkpoint, a model.pt.")
    if not model.is_file():
        raise InputError(f"The checkpoint {model} does not exist; was the run made with --task {task}?")
    given = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
    for name, most in (("image_size", 2), ("batch_size", 1)):
        numbers = list_argument(given.get(name, 1))
        if not 1 <= len(numbers) <= most or not all(type(number) is int and number > 0 for number in numbers):
            raise InputError(f"--{name} must be whole numbers above 0, {most} at the most, not {given[name]}.")
    folders = {"dataset_dir": Path(images).resolve(), "output_dir": Path(output).resolve()}
    command = bundle_run(configs, bundle, **folders, checkpoint=model, **given)
    print(shlex.join(command), flush=True)
    if status := subprocess.run([sys.executable, *command[1:]], check=False).returncode:
        raise SystemExit(status)  # the bundle has said why
    print(f"Masks and overlays: {output}")
