"""Fig. 2: DoLLs beside the truth, of one image an observation: image, each member's map, label, IoU.

Example, after make demo:
    doll report figure labels

and of a run on images whose places are known by masks (truth.csv) or boxes (boxes.csv):
    doll report figure labels --run output/small --section training --output fig2.pdf

No image is picked for its looks: of each observation it is the one with the median IoU among all images of the section
that have a label and a truth. A figure of the kind that the paper has, from our own run; nothing of the paper is
copied.
"""

from __future__ import annotations

from pathlib import Path

from doll_monai.utils.errors import InputError, switch


def draw(
    run: str = "output/demo",
    output: str = "output/figures/fig2_dolls_beside_truth.png",
    section: str = "validation",
    observations: int = 6,
    maps: bool | str = True,
    dpi: int = 130,
) -> None:
    """Draw the figure and print its caption.

    Args:
        run: output folder of a finished run_pipeline.py.
        output: file to write; .png, .pdf or .svg.
        section: of the labeled images: validation, whose patients the classifiers did not see, or training.
        observations: how many are shown, those with the most images.
        maps: false leaves the members' maps out.
        dpi: pixels an inch, of ten inches.
    """
    from doll_tools.figures.label_pairs import label_pairs, median_pairs
    from doll_tools.figures.labels_beside_truth import draw_labels_beside_truth
    from doll_tools.figures.member_maps import member_maps
    from doll_tools.figures.runs import finished_run, note_of
    from doll_tools.figures.saving import check_output, write_figure

    check_output(Path(output), dpi)
    if isinstance(observations, bool) or not isinstance(observations, int) or observations < 1:
        raise InputError(f"observations must be a whole number of at least 1, not {observations}.")
    folder = finished_run(run)
    pairs = label_pairs(folder, section)
    shown = median_pairs(pairs, observations)
    found = member_maps(folder, [pair.image for pair in shown]) if switch(maps, "maps") else {}
    mean = sum(pair.iou for pair in pairs) / len(pairs)
    caption = (
        f"Of each observation the image with the median IoU. "
        f"All {len(pairs)} pairs of {section} image and observation with a known place: mean IoU {mean:.3f}."
    )
    note = f"{caption}\n{note_of(folder.chexpert)}"
    print(write_figure(draw_labels_beside_truth(folder, shown, found, note), Path(output), dpi))
    print(caption)
    for pair in shown:
        print(f"{pair.observation}: {pair.image}, IoU {pair.iou:.3f}")
