"""``doll prepare jsrt``: JSRT (Shiraishi et al. 2000) with SCR's masks (van Ginneken et al. 2006).

Images are raw, ``JPCLN001.IMG`` (with a nodule) and ``JPCNN001.IMG`` (without), mostly in ``All247images``, or PNG of
the same names. SCR's masks are GIF files of half the images' width and height,
``scratch/fold1/masks/left lung/JPCLN001.gif``; the two folds, odd and even numbers, are SCR's own: one is for training,
the other for test.
"""

from __future__ import annotations

import re
from pathlib import Path

from doll_monai.utils.errors import InputError
from doll_tools.prepare.masks import parse_classes
from doll_tools.prepare.preparation import Count, Prepared, Radiograph, command, enter, walk

ORGANS = ("right_lung", "left_lung", "heart", "right_clavicle", "left_clavicle")
"""Names of masks in ``classes``; SCR's folders have a blank for ``_``."""
CLASSES = "lungs=right_lung+left_lung,heart,clavicles=right_clavicle+left_clavicle"
FOLDS = {1: 124, 2: 123}
"""SCR's folds and their images."""

_IMAGE = re.compile(r"(JPC[LN]N\d{3})\.(IMG|PNG)", re.IGNORECASE)


@command
def prepare_jsrt(
    dataset_dir: str, scr_dir: str | None = None, classes: str | tuple[str, ...] = CLASSES, train_fold: int = 1
) -> Prepared:
    """JSRT's images with SCR's masks, which are joined to classes and enlarged to the images' size.

    Example: doll prepare jsrt --dataset_dir JSRT --scr_dir SCR --output output/jsrt --training 5 --validation 10

    Args:
        dataset_dir: folder of the images, which may lie in folders below it.
        scr_dir: folder that has SCR's fold1 and fold2 somewhere in it; dataset_dir by default.
        classes: name=mask+mask,...; masks are right_lung, left_lung, heart, right_clavicle and left_clavicle.
        train_fold: SCR's fold for training and validation, 1 or 2; the other one is for test.
    """
    groups = parse_classes(classes)
    wanted = [organ for group in groups.values() for organ in group]
    if unknown := [organ for organ in wanted if organ not in ORGANS]:
        raise InputError(f"SCR has no masks of '{unknown[0]}'; it has: {', '.join(ORGANS)}.")
    if train_fold not in FOLDS:
        raise InputError(f"train_fold is {train_fold}; it must be 1 or 2, the other fold is for test.")
    folder = Path(dataset_dir)
    kinds: dict[str, dict[str, str]] = {"IMG": {}, "PNG": {}}
    for path in walk(folder):
        if match := _IMAGE.fullmatch(path.name):
            enter(kinds[match[2].upper()], match[1].upper(), str(path), folder)
    images = kinds["IMG"] or kinds["PNG"]
    if not images:
        raise InputError(
            f"{folder} has no image JPCLNnnn.IMG or JPCNNnnn.IMG, nor has a folder below; unpack JSRT there."
        )
    folds = {number: _masks(folder if scr_dir is None else Path(scr_dir), number) for number in FOLDS}
    found, missing, members = [], [], []
    for name, image in sorted(images.items()):
        own = [number for number in FOLDS if any(name in files for files in folds[number].values())]
        members += own
        if len(own) > 1:
            raise InputError(f"{name} has masks in both folds of SCR; unpack SCR again.")
        if not own:
            missing.append(f"The image {folder / image} has no mask in either fold of SCR.")
        elif absent := [organ for organ in wanted if name not in folds[own[0]][organ]]:
            missing.append(f"The mask {absent[0]} of {name} does not exist in fold {own[0]} of SCR.")
        else:
            masks = {channel: [folds[own[0]][organ][name] for organ in group] for channel, group in groups.items()}
            found.append(Radiograph(image, name, "training" if own[0] == train_fold else "test", masks=masks))
    if not found:
        raise InputError(f"No image of {folder} has masks in SCR's folds; both must be unpacked.")
    files = sum(len(files) for organs in folds.values() for files in organs.values())
    counts = [
        Count("images", len(images), 247),
        Count("images with a nodule", sum(name.startswith("JPCLN") for name in images), 154),
        Count("images without", sum(name.startswith("JPCNN") for name in images), 93),
        *(Count(f"fold {number}", members.count(number), published) for number, published in FOLDS.items()),
        Count("masks", files, 247 * len(ORGANS)),
    ]
    notes = [f"Fold {train_fold} is for training, fold {3 - train_fold} for test."]
    return Prepared("JSRT", folder, found, counts, list(groups), notes, missing, enlarge=2)


def _masks(folder: Path, fold: int) -> dict[str, dict[str, str]]:
    """Organ to image to file of one fold."""
    places = sorted(path for path in folder.rglob(f"fold{fold}/masks") if path.is_dir())
    if len(places) != 1:
        raise InputError(
            f"{folder} has {len(places)} folders fold{fold}/masks; scr_dir must be where SCR was unpacked."
        )
    return {
        organ: {path.stem.upper(): str(path.resolve()) for path in places[0].glob(f"{organ.replace('_', ' ')}/*.gif")}
        for organ in ORGANS
    }
