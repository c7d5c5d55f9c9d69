"""Write the ``dataset.json`` of NIH ChestX-ray14, and ``boxes.csv`` of its boxes.

Example:
    doll prepare nih --dataset_dir CXR8 --output output/nih
"""

from __future__ import annotations

from functools import partial

from doll_monai.utils.progress import Bar
from doll_tools.prepare.nih import prepare
from doll_tools.prepare.preparation import finish


def prepare_nih(
    dataset_dir: str,
    output: str | None = None,
    training: int | None = None,
    validation: int | None = None,
    test: int | None = None,
    seed: int = 0,
    check: bool = False,
    quiet: bool = False,
) -> None:
    """Translate NIH's findings to CheXpert's observations, keep its test list, split the rest by patient.

    Args:
        dataset_dir: folder with Data_Entry_2017.csv, train_val_list.txt, test_list.txt, BBox_List_2017.csv and the
            folders of images.
        output: folder for dataset.json and boxes.csv.
        training: number of images for training; all that remain by default.
        validation: number of images for validation; those of 10 % of the patients by default.
        test: number of images of the test list to keep; all by default.
        seed: another seed, another split.
        check: read every image, report, write nothing.
        quiet: show no progress.
    """
    prepared = prepare(str(dataset_dir), training=training, validation=validation, test=test, seed=seed)
    finish(prepared, output, check=check, progress=partial(Bar, name="images", quiet=quiet))
