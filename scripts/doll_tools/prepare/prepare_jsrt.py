"""Write label files and the ``dataset.json`` of JSRT's raw images with SCR's masks.

Example:
    doll prepare jsrt --dataset_dir JSRT --scr_dir SCR --output output/jsrt --training 5 --validation 10
"""

from __future__ import annotations

from functools import partial

from doll_monai.utils.progress import Bar
from doll_tools.prepare.jsrt import CLASSES, prepare
from doll_tools.prepare.preparation import finish


def prepare_jsrt(
    dataset_dir: str,
    output: str | None = None,
    scr_dir: str | None = None,
    classes: str | tuple[str, ...] = CLASSES,
    train_fold: int = 1,
    training: int | None = None,
    validation: int | None = None,
    test: int | None = None,
    seed: int = 0,
    check: bool = False,
    quiet: bool = False,
) -> None:
    """Join SCR's masks, enlarge them to the images' size, write one label file an image and dataset.json.

    Args:
        dataset_dir: folder of the .IMG images.
        output: folder for dataset.json and labels/.
        scr_dir: folder to which SCR was unpacked; dataset_dir by default.
        classes: name=mask+mask,...; masks are right_lung, left_lung, heart, right_clavicle and left_clavicle.
        train_fold: SCR's fold to learn from, 1 or 2; the other one is for test.
        training: number of images for training; all that remain of the fold by default.
        validation: number of images for validation; 10 % of the fold by default.
        test: number of images of the other fold to keep; all by default.
        seed: another seed, another choice within the fold.
        check: read every image and mask, report, write nothing.
        quiet: show no progress.
    """
    prepared = prepare(
        str(dataset_dir),
        scr_dir=None if scr_dir is None else str(scr_dir),
        classes=classes,
        train_fold=train_fold,
        training=training,
        validation=validation,
        test=test,
        seed=seed,
    )
    finish(prepared, output, check=check, progress=partial(Bar, name="masks", quiet=quiet))
