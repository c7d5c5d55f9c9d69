"""Write label files and the ``dataset.json`` of images with hand-drawn masks.

Example:
    doll prepare masks --csv index.csv --classes "lungs=right_lung+left_lung" --output output/lungs \
--training 10 --validation 10
"""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path

from doll_monai.data.datalist import write_datalist
from doll_monai.utils.progress import Bar
from doll_tools.prepare.masks import mask_records, parse_classes


def prepare_masks(
    csv: str,
    classes: str | tuple[str, ...],
    output: str,
    training: int,
    validation: int,
    test: int | None = None,
    seed: int = 0,
    image: str = "image",
    patient: str | None = None,
    dataset_dir: str | None = None,
    check: bool = False,
    quiet: bool = False,
) -> None:
    """Join mask columns to classes, write one label file an image and dataset.json.

    Args:
        csv: table with a column of images and columns of masks; a blank cell is an empty mask.
        classes: name=column+column,name=column: the classes and the columns whose union each is.
        output: folder for dataset.json and labels/.
        training: number of images for training.
        validation: number of images for validation.
        test: number of images for test at the most; all the rest by default.
        seed: another seed, another split.
        image: name of the column of images.
        patient: name of the column of patients; without it, "patient" where there is one, else every image stands alone.
        dataset_dir: folder to which images and masks are relative; the folder of the table by default.
        check: read the images and masks, report, write nothing.
        quiet: show no progress.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    names = parse_classes(classes)
    sections = mask_records(
        str(csv),
        names,
        str(output),
        training=training,
        validation=validation,
        test=test,
        seed=seed,
        dataset_dir=None if dataset_dir is None else str(dataset_dir),
        image=str(image),
        patient=None if patient is None else str(patient),
        progress=partial(Bar, name="masks", quiet=quiet),
        check=check,
    )
    for section, records in sections.items():
        print(f"{section}: {len(records)} images")
    if check:
        print("All of them and their masks are there and readable; nothing was written.")
        return
    path = Path(str(output)) / "dataset.json"
    write_datalist(path, sections, name=Path(str(csv)).resolve().parent.name, labels=dict(enumerate(names)))
    print(path)
