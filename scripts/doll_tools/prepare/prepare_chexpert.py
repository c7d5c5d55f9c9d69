"""Write the ``dataset.json`` of CheXpert, of CheXlocalize's images, or of any data set in CheXpert's layout.

Examples:
    doll prepare chexpert --dataset_dir CheXpert-v1.0-small --output output/chexpert
    doll prepare chexpert --dataset_dir chexlocalize/CheXpert --chexlocalize chexlocalize/CheXlocalize \
--output output/chexlocalize
"""

from __future__ import annotations

import logging
from functools import partial

from doll_monai.utils.progress import Bar
from doll_tools.prepare.chexpert_release import prepare
from doll_tools.prepare.preparation import finish


def prepare_chexpert(
    dataset_dir: str,
    output: str | None = None,
    chexlocalize: str | None = None,
    validation_share: float = 0.1,
    seed: int = 0,
    check: bool = False,
    patient_overlap: str = "error",
    quiet: bool = False,
) -> None:
    """Split train.csv by patient into training and validation, take valid.csv as test, and write dataset.json.

    A folder with val_labels.csv and test_labels.csv instead, as CheXlocalize brings it, gives validation and test.
    Labels stay as they are, 1, 0, -1 and blank; what -1 and blank mean is decided in training.

    Args:
        dataset_dir: folder with train.csv and valid.csv, with the four batches of the full set, or CheXlocalize's.
        output: the .json file to write, or a folder for dataset.json.
        chexlocalize: folder of gt_segmentations_val.json and gt_segmentations_test.json; truth.json and, where there
            are points, points.csv are written beside dataset.json.
        validation_share: share of the patients of train.csv for validation.
        seed: another seed, another split.
        check: read every image, report, write nothing.
        patient_overlap: error, or drop: drop the rows of train.csv whose patient is in valid.csv too.
        quiet: show no progress.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    prepared = prepare(
        str(dataset_dir),
        chexlocalize=None if chexlocalize is None else str(chexlocalize),
        validation_share=validation_share,
        seed=seed,
        patient_overlap=patient_overlap,
        check_images="none" if check else "some",
    )
    finish(prepared, output, check=check, progress=partial(Bar, name="images", quiet=quiet))
