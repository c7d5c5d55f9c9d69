"""Fig. 1: the four stages as one diagram, with one image of a run on its way through them.

Example, after make demo:
    doll report figure overview

and of another run and its comparisons, one folder of compare_initializations a task, each with the start doll, the
tuning adapter and --keep_weights true:
    doll report figure overview --run output/small --comparisons output/comparison --output fig1.pdf

The image is the first validation image with a label of the observation in the order of the hashes of their names; the
masks of the tasks are of the median test image of adapters. Without --comparisons, see fig4_fine_tuning_curves.py. A
figure of the kind that the paper has, drawn by us with pictures of our own run; nothing of the paper is copied.
"""

from __future__ import annotations

from pathlib import Path

from doll_tools.arguments import path_argument
from doll_tools.folders import bundles_folder

ROOT = bundles_folder().parent


def draw(
    run: str = "output/demo",
    comparisons: str | None = None,
    output: str = "output/figures/fig1_overview.png",
    observation: str = "Cardiomegaly",
    dpi: int = 130,
) -> None:
    """Draw the figure and print what is in it.

    Args:
        run: output folder of a finished run_pipeline.py.
        comparisons: folder with finished comparisons, one a task; by default those of the run in
            output/figures/comparisons.
        output: file to write; .png, .pdf or .svg. Predictions get into a folder beside it.
        observation: that is explained.
        dpi: pixels an inch, of ten inches.
    """
    from doll_tools.figures.comparisons import OWN, comparisons_for
    from doll_tools.figures.overview import draw_overview
    from doll_tools.figures.overview_parts import overview_parts
    from doll_tools.figures.runs import finished_run
    from doll_tools.figures.saving import check_output, write_figure
    from doll_tools.figures.with_and_without import mean_iou

    check_output(Path(output), dpi)
    folder = finished_run(run)
    tasks = comparisons_for(run, path_argument(comparisons), Path(OWN), ROOT)
    parts = overview_parts(folder, tasks, observation, Path(output).parent / "predictions", ROOT)
    print(write_figure(draw_overview(parts), Path(output), dpi))
    for task in parts.tasks:
        score = mean_iou(task.image.masks["doll"], task.image.truth)
        print(f"{', '.join(task.classes)}: {task.image.image}, IoU {score:.3f}")
