"""Write the ``dataset.json`` of one's own images: with a CSV of findings to classify, with folders of masks to segment.

Examples:
    doll prepare folder --dataset_dir OWN --csv OWN/findings.csv --output output/own
    doll prepare folder --dataset_dir OWN --images images --masks "lungs=right+left,heart" \
--output output/own
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from doll_monai.utils.errors import InputError
from doll_monai.utils.progress import Bar
from doll_tools.prepare.mask_folders import prepare_mask_folders
from doll_tools.prepare.masks import parse_classes
from doll_tools.prepare.own_table import prepare_table
from doll_tools.prepare.preparation import finish


def prepare_folder(
    dataset_dir: str,
    output: str | None = None,
    csv: str | None = None,
    masks: str | tuple[str, ...] | None = None,
    images: str = ".",
    image: str = "image",
    patient: str | None = None,
    empty_if_absent: bool = False,
    training: int | None = None,
    validation: int | None = None,
    test: int | None = None,
    seed: int = 0,
    check: bool = False,
    quiet: bool = False,
) -> None:
    """Take findings from a table, or masks from folders; images of one patient stay together.

    Args:
        dataset_dir: folder to which images and masks are relative.
        output: folder for dataset.json and, with masks, labels/.
        csv: table with a row an image and a column an observation: 1, 0, -1 or blank.
        masks: class=folder+folder,class=folder: the classes and the folders of their masks.
        images: with masks, the folder of the images.
        image: with csv, the name of the column of images.
        patient: with csv, the name of the column of patients; with masks, a regular expression that finds the patient
            in an image's path. Without it every image stands alone, unless the table has a column patient.
        empty_if_absent: with masks, an image that has a mask in one folder and none in another has nothing there.
        training: number of images for training; 70 % by default, the same for validation, 10 %, and test, 20 %.
        validation: number of images for validation; what neither training nor validation takes is for test.
        test: number of images for test at the most.
        seed: another seed, another split.
        check: read every image and mask, report, write nothing.
        quiet: show no progress.
    """
    if (csv is None) == (masks is None):
        raise InputError("Give csv, a table of findings, or masks, folders of masks; one of the two.")
    folder = str(dataset_dir)
    if csv is not None:
        prepared = prepare_table(
            folder,
            str(csv),
            image=str(image),
            patient=None if patient is None else str(patient),
            training=training,
            validation=validation,
            test=test,
            seed=seed,
        )
    else:
        prepared = prepare_mask_folders(
            folder,
            str(images),
            parse_classes(masks or ""),
            name=Path(folder).resolve().name,
            empty_if_absent=empty_if_absent,
            patient=None if patient is None else str(patient),
            training=training,
            validation=validation,
            test=test,
            seed=seed,
        )
    finish(prepared, output, check=check, progress=partial(Bar, name="images", quiet=quiet))
