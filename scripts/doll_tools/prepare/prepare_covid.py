"""Write label files and the ``dataset.json`` of COVID-QU-Ex or QaTa-COV19-v2.

Example:
    doll prepare covid --dataset_dir QaTa-COV19 --output output/covid --training 5 --validation 10
"""

from __future__ import annotations

from functools import partial

from doll_monai.utils.progress import Bar
from doll_tools.prepare.covid import prepare
from doll_tools.prepare.preparation import finish


def prepare_covid(
    dataset_dir: str,
    output: str | None = None,
    classes: str | tuple[str, ...] = "infection",
    groups: str | tuple[str, ...] | None = None,
    training: int | None = None,
    validation: int | None = None,
    test: int | None = None,
    seed: int = 0,
    check: bool = False,
    quiet: bool = False,
) -> None:
    """Write one label file an image and dataset.json; which of the two sets it is, is seen by its folders.

    Args:
        dataset_dir: folder to which the set was unpacked.
        output: folder for dataset.json and labels/.
        classes: infection, lungs or both; lungs are in COVID-QU-Ex alone.
        groups: of COVID-QU-Ex: COVID-19, Non-COVID, Normal; by default COVID-19 for infection, all for lungs alone.
        training: number of the owner's training images to take; all by default.
        validation: number of images for validation; the owner's, or 10 % of the training patients by default.
        test: number of the owner's test images to keep; all by default.
        seed: another seed, another choice within the owner's split.
        check: read every image and mask, report, write nothing.
        quiet: show no progress.
    """
    prepared = prepare(
        str(dataset_dir),
        classes=classes,
        groups=groups,
        training=training,
        validation=validation,
        test=test,
        seed=seed,
    )
    finish(prepared, output, check=check, progress=partial(Bar, name="masks", quiet=quiet))
