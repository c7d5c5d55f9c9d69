"""The four stages as a row of pictures of one run, with captions."""

from __future__ import annotations

from matplotlib.figure import Figure

from doll_monai.utils.errors import InputError
from doll_tools.report.figures.drawing import KEY, labeled, mask_of, note_of, picture_of, show
from doll_tools.report.figures.labels import member_maps
from doll_tools.report.labels import Labels
from doll_tools.report.pictures import task_rows
from doll_tools.report.run_folder import RunFolder
from doll_tools.report.summary import summarize


def draw_overview(run: RunFolder) -> Figure:
    """The figure; parts that the run does not have are left out. ``InputError`` when it has no label."""
    labels = Labels(run)
    images = labels.images()
    if not images:
        raise InputError(f"{run.root} has no labels; let doll run go on to the end.")
    summary = summarize(run)
    members = run.pipeline.get("members") or []
    first = images[0]
    pair = max(first.pairs, key=lambda one: one.probability or 0.0)
    picture = picture_of(run.chexpert / first.image)
    auroc = summary.get("classifier", {}).get("mean_auroc")
    committee = f"{len(members)} classifiers" + ("" if auroc is None else f", mean AUROC {auroc:.2f}")
    findings = ", ".join(one.observation for one in first.pairs)
    panels = [(picture, "1 Classify", f"{committee}\n{findings}")]
    maps = member_maps(labels, first.image, pair.observation, 1 + len(members))
    if maps:
        panels.append((maps[0], "2 Explain", f"Integrated Gradients of {pair.observation},\nmean of the members"))
    label = labeled(picture, mask_of(labels.label(first.image))[pair.channel])
    panels.append((label, "DoLL", f"label of {pair.observation}"))
    other = images[1 % len(images)]
    one = other.pairs[0]
    label = labeled(picture_of(run.chexpert / other.image), mask_of(labels.label(other.image))[one.channel])
    panels.append((label, "3 Pre-train", f"on the labels of {len(images):,} images\nhere {one.observation}"))
    rows = task_rows(run)
    if rows:
        median = next((row for row in rows if row.title.startswith("median")), rows[0])
        panels.append((median.pictures[0][0], "4 Adapt", f"{run.task}: adapter's outline,\n{median.title}"))
    figure = Figure(figsize=(2.3 * len(panels), 3.1), layout="constrained")
    for axes, (image, title, below) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        show(axes, image, title, below)
    figure.supxlabel(f"{KEY} {note_of(run.chexpert)}", fontsize=7)
    return figure
