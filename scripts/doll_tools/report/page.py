"""The page of a run: one HTML file that needs nothing beside it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from doll_monai.data.datalist import write_atomic
from doll_tools.report.browser import IMAGES, Browser, Progress, label_browser
from doll_tools.report.comparisons import Comparison, find_comparisons, read_comparison
from doll_tools.report.distributions import distributions
from doll_tools.report.facts import MADE_BY, page_command, run_settings, stages_of
from doll_tools.report.figures import roc_curves, training_curves
from doll_tools.report.images import label_rows, task_rows
from doll_tools.report.run_folder import NO_VALUE, RunFolder, figure, finite
from doll_tools.report.summary import summarize

TEMPLATE = "report.html.j2"


def write_report(
    run: str | os.PathLike[str],
    output: str | os.PathLike[str],
    comparisons: str | os.PathLike[str] | None = None,
    images: int = IMAGES,
    progress: Progress = iter,
) -> Path:
    """Write the page of a run.

    Args:
        run: the pipeline's folder.
        output: the HTML file, or a folder for ``report.html``.
        comparisons: output of ``doll compare``, or a folder of such outputs; those in the run's
            own ``comparisons`` when None.
        images: images in the label browser, at most.
        progress: wraps the browser's images while they are read.

    Returns:
        path of the file.

    Raises:
        InputError: when the folder is no run, a table in it is broken, there is no comparison where one was named, or
            the page cannot be written.
    """
    path = Path(output)
    path = path / "report.html" if path.is_dir() else path
    folder = RunFolder(run)
    found = [read_comparison(place) for place in find_comparisons(_path(comparisons), folder.root)]
    command = page_command(folder.root, path, _path(comparisons), images)
    write_atomic(path, render(folder, found, label_browser(folder, images, progress), command).encode())
    return path


def render(folder: RunFolder, comparisons: Sequence[Comparison], browser: Browser | None, command: str) -> str:
    """The page as text."""
    summary = summarize(folder)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("doll_tools.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"figure": figure, "duration": duration, "verbatim": Markup, "words": words}
    labels = summary.get("labels", {})
    return environment.get_template(TEMPLATE).render(
        name=folder.root.resolve().name,
        preset=folder.pipeline.get("preset"),
        task=folder.task,
        phantom=is_phantom(folder.chexpert),
        classifier=summary.get("classifier", {}),
        labels=labels,
        scores=summary.get(folder.task, {}),
        key_figures=key_figures(summary, folder.task),
        sources=source_table(labels),
        run_settings=run_settings(folder),
        stages=folder.stages,
        made_by={part: stages_of(folder, part) for part in MADE_BY},
        command=command,
        roc=roc_curves(folder),
        distributions=distributions(folder),
        browser=browser,
        label_rows=label_rows(folder),
        task_rows=task_rows(folder),
        curves=training_curves(folder),
        comparisons=comparisons,
    )


def is_phantom(chexpert: Path) -> bool:
    """Whether a data set was drawn by ``doll_tools.phantom``, which leaves ``phantom.json`` in it."""
    return (chexpert / "phantom.json").is_file()


def key_figures(summary: dict[str, Any], task: str) -> list[tuple[str, str, str]]:
    """The figures that stand first: name, value, and what it is to be compared with."""
    classifier, labels, scores = (summary.get(part, {}) for part in ("classifier", "labels", task))
    rows = []
    if classifier:
        note = f"over {classifier['observations']} observations, test images; 0.5 is chance"
        rows.append(("Committee, mean AUROC", figure(classifier["mean_auroc"]), note))
    if "iou_consensus" in labels:
        others = {"single": "a single member", "gradcam": "Grad-CAM", "chance": "chance"}
        for score, name in (("iou", "IoU with the truth"), ("hit", "maximum inside the truth")):
            known = [(word, labels.get(f"{score}_{key}")) for key, word in others.items()]
            note = ", ".join(f"{word} {figure(value)}" for word, value in known if value is not None)
            rows.append((f"Labels, {name}", figure(labels[f"{score}_consensus"]), note))
    if labels.get("unreadable"):
        rows.append(("Images without a label", str(labels["unreadable"]), "could not be read: labels/failures.csv"))
    if labels.get("completeness_error_median") is not None:
        note = f"median over the positive observations of {labels['count']} images" if "count" in labels else "median"
        rows.append(("Labels, completeness error", figure(labels["completeness_error_median"], 4), note))
    for score, name in (("dice", "Dice"), ("iou", "IoU")):
        if f"{score}_adapter" in scores:
            scratch = scores.get(f"{score}_scratch")
            note = "" if scratch is None else f"from scratch {figure(scratch)}"
            rows.append((f"{words(task)} with adapter, {name}", figure(scores[f"{score}_adapter"]), note))
    rows.append(("Time of all stages", duration(summary["seconds_total"]), ""))
    return rows


def source_table(labels: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Name, IoU and hit share of every source of maps, the consensus first and chance last."""
    names = {"consensus": "consensus of the committee", "gradcam": "Grad-CAM, consensus", "chance": "chance"}
    found = {key: (labels.get(f"iou_{key}"), labels.get(f"hit_{key}")) for key in names}
    rows = [("consensus of the committee", *found["consensus"])]
    for member, iou in labels.get("iou_members", {}).items():
        rows.append((member.replace("_", " ") + " alone", iou, labels.get("hit_members", {}).get(member)))
    rows += [(names[key], *found[key]) for key in ("gradcam", "chance")]
    return [(name, figure(iou), figure(hit)) for name, iou, hit in rows if iou is not None]


def duration(value: Any) -> str:
    """Seconds in the words of a clock."""
    seconds = finite(value)
    if seconds is None:
        return NO_VALUE
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def words(name: Any) -> str:
    """A stage's or task's name with blanks and a capital."""
    text = str(name).replace("_", " ")
    return text[:1].upper() + text[1:]


def _path(given: str | os.PathLike[str] | None) -> Path | None:
    return None if given is None else Path(given)
