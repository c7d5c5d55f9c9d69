"""Fig. 3: segmentation of test images from scratch and after pre-training on DoLLs, for three tasks.

Example, after make demo:
    doll report figure pretraining

and of other comparisons, one folder of compare_initializations (with --keep_weights true) a task:
    doll report figure pretraining --comparisons output/comparison --output fig3.pdf

The two networks of a task learnt from the same annotated images, in the same order, for the same number of iterations.
No image is picked for its looks: images are ordered by their IoU, averaged over classes and over both networks, and the
median and the worst are shown. Without --comparisons, see fig4_fine_tuning_curves.py. A figure of the kind that the
paper has, from our own runs; nothing of the paper is copied.
"""

from __future__ import annotations

from pathlib import Path

from doll_tools.arguments import list_argument, path_argument
from doll_tools.folders import bundles_folder

ROOT = bundles_folder().parent
INITS = ("scratch", "doll")


def draw(
    run: str = "output/demo",
    comparisons: str | None = None,
    output: str = "output/figures/fig3_with_and_without_pretraining.png",
    shots: int | None = None,
    tuning: str = "full",
    seed: int = 0,
    images: str | tuple[str, ...] = ("median", "worst"),
    dpi: int = 130,
) -> None:
    """Draw the figure and print which images are in it.

    Args:
        run: output folder of a finished run_pipeline.py, whose networks are compared in output/figures/comparisons.
        comparisons: folder with finished comparisons, one a task, to take instead.
        output: file to write; .png, .pdf or .svg. The masks get into a folder beside it.
        shots: number of annotated images; may be left out where a comparison has one.
        tuning: what was trained.
        seed: of both networks.
        images: which are shown, of best, median and worst.
        dpi: pixels an inch, of ten inches.
    """
    from doll_tools.compare.cells import Cell
    from doll_tools.compare.measured import read_task
    from doll_tools.figures.comparisons import OWN, comparisons_for
    from doll_tools.figures.fine_tuning_curves import only_shots
    from doll_tools.figures.runs import note_of
    from doll_tools.figures.saving import check_output, write_figure
    from doll_tools.figures.task_images import shown_images
    from doll_tools.figures.with_and_without import draw_with_and_without, mean_iou

    check_output(Path(output), dpi)
    masks = Path(output).parent / "predictions"
    shown, classes = {}, {}
    for folder in comparisons_for(run, path_argument(comparisons), Path(OWN), ROOT):
        task = read_task(folder)
        count = only_shots(task, tuning, shots)
        cells = [Cell(init, tuning, count, seed) for init in INITS]
        title = f"{', '.join(task.classes)}\n{count} annotated image{'s' * (count > 1)}"
        classes[title] = task.classes
        shown[title] = shown_images(folder, task, cells, list_argument(images), masks / task.name)
    note = f"ordered by IoU, mean of both networks; {note_of(next(iter(shown.values()))[0].data)}"
    print(write_figure(draw_with_and_without(shown, classes, INITS, note), Path(output), dpi))
    for title, chosen in shown.items():
        for image in chosen:
            ious = ", ".join(f"{init} {mean_iou(mask, image.truth):.3f}" for init, mask in image.masks.items())
            print(f"{title.splitlines()[0]}, {image.rank}: {image.image}, IoU {ious}")
