"""Fig. 4: mean IoU on validation images while networks are fine-tuned on a few images, for three tasks, by start.

Example, after make demo:
    doll report figure curves

and of other comparisons, one folder of compare_initializations a task:
    doll report figure curves --comparisons output/comparison --shots 5 --output fig4.pdf

Without --comparisons, the starts are first compared on the run's own task images where that has not been done (on
synthetic images the third task has images of its own, which all show an infection): three tasks, five annotated images,
two seeds, and adapters for Fig. 1, 27 short trainings. An interrupted command continues. A figure of the kind that the
paper has, from our own runs; nothing of the paper is copied.
"""

from __future__ import annotations

from pathlib import Path

from doll_tools.arguments import path_argument
from doll_tools.folders import bundles_folder

ROOT = bundles_folder().parent


def draw(
    run: str = "output/demo",
    comparisons: str | None = None,
    output: str = "output/figures/fig4_fine_tuning_curves.png",
    shots: int | None = None,
    tuning: str = "full",
    images: str | None = None,
    dpi: int = 130,
) -> None:
    """Draw the figure and print the last points of its lines.

    Args:
        run: output folder of a finished run_pipeline.py, whose networks are compared in output/figures/comparisons.
        comparisons: folder with finished comparisons, one a task, to take instead.
        output: file to write; .png, .pdf or .svg.
        shots: number of annotated images; may be left out where a comparison has one.
        tuning: what was trained.
        images: what the images of the given comparisons are, for the line below, such as "synthetic images".
        dpi: pixels an inch, of ten inches.
    """
    from doll_tools.compare.measured import read_task
    from doll_tools.figures.comparisons import OWN, comparisons_for
    from doll_tools.figures.fine_tuning_curves import draw_fine_tuning_curves, mean_curves, only_shots
    from doll_tools.figures.runs import finished_run, note_of
    from doll_tools.figures.saving import check_output, write_figure

    check_output(Path(output), dpi)
    tasks = [read_task(folder) for folder in comparisons_for(run, path_argument(comparisons), Path(OWN), ROOT)]
    if comparisons is None:
        own = note_of(finished_run(run).task_data)
    else:
        own = "drawn from our own run" + (f" on {images}" if images else "")
    note = f"lines: means over seeds, bands: lowest to highest seed; {own}"
    print(write_figure(draw_fine_tuning_curves(tasks, tuning, shots, note), Path(output), dpi))
    for task in tasks:
        for init, curve in mean_curves(task, tuning, only_shots(task, tuning, shots)).items():
            last = curve.iloc[-1]
            print(f"{task.name}, {init}: {last['mean']:.3f} ({last['min']:.3f} to {last['max']:.3f})")
