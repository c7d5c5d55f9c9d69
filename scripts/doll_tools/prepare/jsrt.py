"""``doll prepare jsrt``: JSRT (Shiraishi et al. 2000) with SCR's masks (van Ginneken et al. 2006).

Images are raw, ``JPCLN001.IMG`` (with a nodule) and ``JPCNN001.IMG`` (without), mostly in ``All247images``, or PNG of
the same names. SCR's masks are GIF files of half the images' width and height,
``scratch/fold1/masks/left lung/JPCLN001.gif``; the two folds, odd and even numbers, are SCR's own: one is for training,
the other for test.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from doll_monai.utils.errors import InputError
from doll_tools.prepare.masks import parse_classes
from doll_tools.prepare.preparation import Count, Prepared, Radiograph, command, find_files, join_masks

ORGANS = ("right_lung", "left_lung", "heart", "right_clavicle", "left_clavicle")
"""Names of masks in ``classes``; SCR's folders have a blank for ``_``."""
CLASSES = "lungs=right_lung+left_lung,heart,clavicles=right_clavicle+left_clavicle"
FOLDS = {1: 124, 2: 123}
"""SCR's folds and their images."""

_NAME = r"(JPC[LN]N\d{3})"


@command
def prepare_jsrt(dataset_dir: str, scr_dir: str | None = None, classes: str = CLASSES, train_fold: int = 1) -> Prepared:
    """JSRT's images with SCR's masks, which are joined to classes and enlarged to the images' size.

    Example: doll prepare jsrt --dataset_dir JSRT --scr_dir SCR --output output/jsrt --training 5 --validation 10

    Args:
        dataset_dir: folder of the images, which may lie in folders below it.
        scr_dir: folder that has SCR's fold1 and fold2 somewhere in it; dataset_dir by default.
        classes: name=mask+mask,...; masks are right_lung, left_lung, heart, right_clavicle and left_clavicle.
        train_fold: SCR's fold for training and validation, 1 or 2; the other one is for test.
    """
    groups = parse_classes(classes)
    wanted = dict.fromkeys(organ for group in groups.values() for organ in group)
    if unknown := [organ for organ in wanted if organ not in ORGANS]:
        raise InputError(f"SCR has no masks of '{unknown[0]}'; it has: {', '.join(ORGANS)}.")
    if train_fold not in FOLDS:
        raise InputError(f"train_fold is {train_fold}; it must be 1 or 2, the other fold is for test.")
    folder, scr = Path(dataset_dir), str(Path(scr_dir or dataset_dir).resolve())
    images = find_files(folder, rf"(?:.*/)?{_NAME}\.IMG") or find_files(folder, rf"(?:.*/)?{_NAME}\.PNG")
    if not images:
        raise InputError(
            f"{folder} has no image JPCLNnnn.IMG or JPCNNnnn.IMG, nor has a folder below; unpack JSRT there."
        )
    found: list[Radiograph] = []
    missing: list[str] = []
    counts: list[Count] = []
    bare = dict(images)
    for fold, published in FOLDS.items():
        place = f"(?:.*/)?fold{fold}/masks"
        masks = {organ: find_files(folder, f"{place}/{organ.replace('_', ' ')}/{_NAME}.gif", scr) for organ in ORGANS}
        names = images.keys() & {name for files in masks.values() for name in files}
        if not names:
            raise InputError(f"{scr} has no fold{fold}/masks of the images; scr_dir must be where SCR was unpacked.")
        if twice := sorted(names - bare.keys()):
            raise InputError(f"{twice[0]} has masks in both folds of SCR; unpack SCR again.")
        joined, lost = join_masks(
            {name: bare.pop(name) for name in sorted(names)},
            {organ: masks[organ] for organ in wanted},
            groups,
            pool="training" if fold == train_fold else "test",
            patient=lambda path: PurePosixPath(path).stem.upper(),
        )
        found += joined
        missing += lost
        counts += [
            Count(f"fold {fold}", len(names), published),
            Count(f"fold {fold}, masks", sum(map(len, masks.values())), published * len(ORGANS)),
        ]
    missing += [f"The image {image} has no mask in either fold of SCR." for image in bare.values()]
    counts = [
        Count("images", len(images), 247),
        Count("images with a nodule", sum(name.startswith("JPCLN") for name in images), 154),
        Count("images without", sum(name.startswith("JPCNN") for name in images), 93),
        *counts,
    ]
    notes = [f"Fold {train_fold} is for training, fold {3 - train_fold} for test."]
    return Prepared("JSRT", folder, found, counts, list(groups), notes, missing, enlarge=2)
