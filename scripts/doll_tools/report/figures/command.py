"""``doll report figure``: a figure of a run as PNG, PDF or SVG; the same run gives the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from doll_monai.utils.atomic import write_atomic
from doll_monai.utils.errors import InputError
from doll_tools.compare.curves import UNSTABLE, draw_curves, rendered
from doll_tools.compare.few_shot import read_table
from doll_tools.compare.results import CURVES
from doll_tools.report.comparisons import find_comparisons
from doll_tools.report.figures.labels import draw_labels
from doll_tools.report.figures.overview import draw_overview
from doll_tools.report.figures.pretraining import draw_pretraining
from doll_tools.report.run_folder import RunFolder

NAMES = ("overview", "labels", "pretraining", "curves")
STYLE: Any = {"font.size": 8, "axes.titlesize": 9, "axes.spines.top": False, "axes.spines.right": False}


def figure(name: str, run: str, output: str, comparisons: str | None = None, dpi: int = 130) -> None:
    """Draw a figure of a finished run; no image is picked for its looks.

    Args:
        name: overview (the four stages in a row of pictures), labels (DoLLs beside the ground truth, of each
            observation the image with the median IoU), pretraining (test images segmented with and without
            pre-training, the median and the worst of each task) or curves (IoU on valid images during fine-tuning).
        run: folder that doll run wrote.
        output: file to write, .png, .pdf or .svg; masks of pretraining get into a folder predictions beside it.
        comparisons: output of doll compare, or a folder of one such output a task; those in the run's own folder
            comparisons by default. pretraining needs those of scratch and doll with --keep_weights true.
        dpi: pixels an inch.
    """
    path = Path(output)
    if name not in NAMES:
        raise InputError(f"There is no figure '{name}'; there are: {', '.join(NAMES)}.")
    if path.suffix.removeprefix(".") not in UNSTABLE:
        raise InputError(f"{path.name} must end in {', '.join(f'.{kind}' for kind in UNSTABLE)}.")
    if isinstance(dpi, bool) or not isinstance(dpi, int) or not 20 <= dpi <= 1200:
        raise InputError(f"dpi must be a whole number from 20 to 1200, not {dpi}.")
    print(write_figure(name, RunFolder(run), path, None if comparisons is None else Path(comparisons), dpi))


def write_figure(name: str, run: RunFolder, path: Path, comparisons: Path | None = None, dpi: int = 130) -> Path:
    """Draw and write one of ``NAMES``, see ``figure``; ``InputError`` when something that it shows is missing."""
    with matplotlib.rc_context(STYLE):
        if name == "overview":
            drawn = draw_overview(run)
        elif name == "labels":
            drawn = draw_labels(run)
        else:
            folders = find_comparisons(run, comparisons)
            if not folders:
                raise InputError(f"{run.root} has no comparisons; give --comparisons a folder of doll compare.")
            masks = path.parent / "predictions"
            drawn = draw_pretraining(folders, masks) if name == "pretraining" else _curves(folders)
        kind = path.suffix.removeprefix(".")
        write_atomic(path, rendered(drawn, (kind,), dpi, bbox_inches="tight")[kind])
    return path


def _curves(folders: list[Path]) -> Figure:
    """A panel a task, of the most annotated images."""
    panels = {}
    for folder in folders:
        curves = read_table(folder / CURVES, ["initialization", "tuning", "shots", "seed", "iteration", "iou"])
        shots, seeds = curves["shots"].max(), curves["seed"].nunique()
        panels[f"{folder.name}: {shots} annotated images, {seeds} seeds"] = curves[curves["shots"] == shots]
    return draw_curves(panels)
