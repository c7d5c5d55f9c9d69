"""``doll report``: the page of a run, one HTML file that needs nothing beside it."""

from __future__ import annotations

import base64
import os
import shlex
from functools import partial
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from doll_monai.data.datalist import SECTIONS, datalist_hash
from doll_monai.utils.atomic import write_atomic
from doll_monai.utils.errors import InputError
from doll_monai.utils.progress import Bar
from doll_monai.visualize.pictures import encode_picture
from doll_tools.compare.page import clear_of_zero
from doll_tools.markdown import interval
from doll_tools.pipeline.record import duration
from doll_tools.report.browser import IMAGES, Progress, label_browser
from doll_tools.report.comparisons import find_comparisons, read_comparison
from doll_tools.report.curves import distributions, roc_curves, training_curves
from doll_tools.report.labels import Labels
from doll_tools.report.pictures import label_rows, task_rows
from doll_tools.report.run_folder import NO_VALUE, RunFolder, figure
from doll_tools.report.summary import summarize

MADE_BY = {
    "classifier": ("prepare_images", "train_", "assemble_committee", "evaluate_classifier"),
    "labels": ("generate_labels", "localize_"),
    "segmentation": ("pretrain", "prepare_task", "fine_tune_", "evaluate_adapter", "evaluate_scratch", "predict"),
    "training": ("train_", "pretrain", "fine_tune_"),
}
"""Part of the page to the beginnings of the names of the stages whose results it shows."""


def report(
    run: str, output: str = "report.html", comparisons: str | None = None, images: int = IMAGES, quiet: bool = False
) -> None:
    """Write the page of a pipeline's run, one HTML file that needs nothing beside it.

    Args:
        run: folder that doll run wrote.
        output: the HTML file, or a folder for report.html.
        comparisons: output of doll compare, or a folder of such; by default the run's own folder comparisons.
        images: images in the label browser, at most; a thousand make a page of about 26 MB.
        quiet: show no progress.
    """
    if not isinstance(images, int) or isinstance(images, bool) or images < 0:
        raise InputError(f"images must be a whole number, not {images}.")
    progress = partial(Bar, name="images of the page", quiet=quiet)
    print(write_report(str(run), str(output), None if comparisons is None else Path(comparisons), images, progress))


def write_report(
    run: str | os.PathLike[str],
    output: str | os.PathLike[str],
    comparisons: Path | None = None,
    images: int = IMAGES,
    progress: Progress = iter,
) -> Path:
    """Write the page of a run and return its path, see ``report``.

    ``InputError`` when the folder is no run, a table in it is broken, or no comparison is where one was named.
    """
    path = Path(output)
    path = path / "report.html" if path.is_dir() else path
    folder = RunFolder(run)
    found = [read_comparison(place) for place in find_comparisons(folder, comparisons)]
    loader = jinja2.PackageLoader("doll_tools.report", ".")
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"figure": figure, "duration": _duration, "verbatim": Markup, "words": _words}
    environment.filters |= {"interval": interval, "clear_of_zero": clear_of_zero, "data_uri": _data_uri}
    values = {"run": folder.root, "output": path, "comparisons": comparisons, "images": images}
    options = [text for name, value in values.items() if value is not None for text in (f"--{name}", str(value))]
    labels, summary = Labels(folder), summarize(folder)
    stages = [stage for stage in folder.stages if stage.get("command")]
    page = environment.get_template("report.html.j2").render(
        name=folder.root.resolve().name,
        task=folder.task,
        synthetic=(folder.chexpert / "phantom.json").is_file(),
        classifier=summary.get("classifier", {}),
        labels=summary.get("labels", {}),
        scores=summary.get(folder.task, {}),
        seconds=summary["seconds_total"],
        pipeline=folder.pipeline,
        committee=folder.datalist("labels/provenance.json").get("checkpoint_sha256"),
        data={name: _data(folder, f"{name}/dataset.json") for name in ("chexpert", "task")},
        stages=folder.stages,
        made_by={
            part: [stage for stage in stages if str(stage.get("name")).startswith(beginnings)]
            for part, beginnings in MADE_BY.items()
        },
        command=shlex.join(["doll", "report", *options]),
        roc=roc_curves(folder),
        distributions=distributions(folder),
        browser=label_browser(labels, images, progress),
        label_rows=label_rows(labels),
        task_rows=task_rows(folder),
        curves=training_curves(folder),
        comparisons=found,
    )
    write_atomic(path, page.encode())
    return path


def _data(folder: RunFolder, name: str) -> str:
    """How many images a datalist has, and the hash that says which; nothing where it is missing."""
    sections = folder.datalist(name)
    if not sections:
        return ""
    counts = ", ".join(f"{len(sections[section]):,} {section}" for section in SECTIONS if sections.get(section))
    return f"{counts}; SHA-256 {datalist_hash(folder.root / name)}"


def _duration(seconds: float | None) -> str:
    return NO_VALUE if seconds is None else duration(seconds)


def _words(name: Any) -> str:
    """A stage's or task's name with blanks and a capital."""
    text = str(name).replace("_", " ")
    return text[:1].upper() + text[1:]


def _data_uri(picture: np.ndarray) -> str:
    """A picture as a JPEG inside a ``data:`` address."""
    content = encode_picture(picture, "JPEG", quality=82, subsampling=0, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(content).decode()
