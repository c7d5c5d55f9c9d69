"""Write label files and the ``dataset.json`` of lungs: Montgomery, Shenzhen, or any folder of images and masks.

Examples:
    doll prepare lungs --dataset_dir NLM --output output/lungs --training 10 --validation 10
    doll prepare lungs --dataset_dir OWN --images images --masks lung_masks --output output/lungs
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from doll_monai.utils.errors import InputError
from doll_monai.utils.progress import Bar
from doll_tools.prepare.lungs import prepare
from doll_tools.prepare.mask_folders import prepare_mask_folders
from doll_tools.prepare.preparation import finish


def prepare_lungs(
    dataset_dir: str,
    output: str | None = None,
    images: str | None = None,
    masks: str | None = None,
    patient: str | None = None,
    training: int | None = None,
    validation: int | None = None,
    test: int | None = None,
    seed: int = 0,
    check: bool = False,
    quiet: bool = False,
) -> None:
    """Join the masks of both lungs, write one label file an image and dataset.json.

    Args:
        dataset_dir: folder above MontgomerySet, ChinaSet_AllFiles and Shenzhen's masks, or one's own folder.
        output: folder for dataset.json and labels/.
        images: folder of one's own images, below dataset_dir.
        masks: folder of their masks, or FOLDER+FOLDER for one a lung.
        patient: regular expression that finds the patient in an image's path; without it every image stands alone.
        training: number of images for training; 70 % by default, the same for validation, 10 %, and test, 20 %.
        validation: number of images for validation; what neither training nor validation takes is for test.
        test: number of images for test at the most.
        seed: another seed, another split.
        check: read every image and mask, report, write nothing.
        quiet: show no progress.
    """
    if (images is None) != (masks is None):
        raise InputError("Give both images and masks, or neither for Montgomery and Shenzhen.")
    folder = str(dataset_dir)
    if images is None:
        prepared = prepare(folder, training=training, validation=validation, test=test, seed=seed)
    else:
        prepared = prepare_mask_folders(
            folder,
            str(images),
            {"lungs": str(masks).split("+")},
            name=Path(folder).resolve().name,
            patient=None if patient is None else str(patient),
            training=training,
            validation=validation,
            test=test,
            seed=seed,
        )
    finish(prepared, output, check=check, progress=partial(Bar, name="masks", quiet=quiet))
