"""A folder of links to images, under names that say nothing about patients, and its dataset.json.

Example:
    doll annotate pseudonymize --datalist output/own/dataset.json --dataset_dir IMAGES --output output/pseudonymous \
--key KEEP/key --names KEEP/names.csv

Everything that is made from output/pseudonymous (--dataset_dir output/pseudonymous) carries the pseudonyms alone. The
key and the table of names undo it: keep them where the patients' names may be.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from doll_monai.utils.progress import Bar
from doll_tools.annotate.pseudonyms import DATALIST, write_pseudonyms


def pseudonymize(
    datalist: str,
    dataset_dir: str,
    output: str,
    key: str,
    names: str,
    label_dir: str | None = None,
    quiet: bool = False,
) -> None:
    """Write links and dataset.json; images are neither copied nor changed.

    Args:
        datalist: dataset.json with the true names.
        dataset_dir: folder to which its images are relative.
        output: folder for the links and the new dataset.json.
        key: file with the secret key, made when it does not exist; the same key gives the same pseudonyms.
        names: CSV to write, which pseudonym stands for which image.
        label_dir: folder to which labels are relative, when it is another one.
        quiet: show no progress.
    """
    progress = partial(Bar, name="links", quiet=quiet)
    counts = write_pseudonyms(
        str(datalist), str(dataset_dir), str(output), str(key), str(names), label_dir, progress=progress
    )
    for section, count in counts.items():
        print(f"{section}: {count} images")
    print(Path(str(output)) / DATALIST)
