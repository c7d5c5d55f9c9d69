"""Make a data set that others can use from a finished folder of labels; images are never copied.

Example:
    doll package labels --labels output/labels --output output/doll_dataset \
--images "CheXpert-v1.0-small" --evaluation output/evaluation
"""

from __future__ import annotations

from functools import partial

from doll_monai.utils.progress import Bar
from doll_tools.release.package import TITLE, package_labels


def package(
    labels: str,
    output: str,
    evaluation: str | None = None,
    images: str | None = None,
    name: str = TITLE,
    quiet: bool = False,
) -> None:
    """Check all labels and write them with datalist, table, provenance, hashes and a data card.

    Args:
        labels: the finished output_dir of the label generation.
        output: folder to make; it must not exist or be empty.
        evaluation: evaluation.csv or the folder that holds it, for the card; without it the card says "not evaluated".
        images: which images the labels belong to, in a few words, for the card.
        name: the card's title.
        quiet: show no progress.
    """
    folder = package_labels(
        str(labels),
        str(output),
        evaluation=None if evaluation is None else str(evaluation),
        name=str(name),
        images=None if images is None else str(images),
        progress=partial(Bar, name="labels", quiet=quiet),
    )
    print(f"{len(folder.records)} labels, checked; no image is included, only the images' relative paths.")
    print(f"{output}/README.md")
