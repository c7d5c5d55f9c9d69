"""JSRT's images (Shiraishi et al. 2000) with the SCR masks of lungs, heart and clavicles (van Ginneken et al. 2006).

Images are raw, ``JPCLN001.IMG`` (with a nodule) and ``JPCNN001.IMG`` (without), mostly in ``All247images``. SCR's masks
are GIF files of half the images' width and height, ``scratch/fold1/masks/left lung/JPCLN001.gif``; the two folds,
odd and even numbers, are SCR's own: one learns, the other tests.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from doll_monai.utils.errors import InputError
from doll_tools.prepare.mask_folders import Found, in_sections
from doll_tools.prepare.masks import parse_classes
from doll_tools.prepare.preparation import Prepared
from doll_tools.prepare.published import Count

ORGANS = {
    "right_lung": "right lung",
    "left_lung": "left lung",
    "heart": "heart",
    "right_clavicle": "right clavicle",
    "left_clavicle": "left clavicle",
}
"""Name of a mask in ``classes``, and SCR's folder of it."""
CLASSES = "lungs=right_lung+left_lung,heart,clavicles=right_clavicle+left_clavicle"
FOLDS = {1: 124, 2: 123}
"""SCR's folds and their images."""
ENLARGE = 2
"""Images have 2048 x 2048 pixels, masks 1024 x 1024."""

_IMAGE = re.compile(r"JPC[LN]N\d{3}\.IMG", re.IGNORECASE)


def prepare(
    dataset_dir: str | os.PathLike[str],
    *,
    scr_dir: str | os.PathLike[str] | None = None,
    classes: str | Sequence[str] = CLASSES,
    train_fold: int = 1,
    training: int | None = None,
    validation: int | None = None,
    test: int | None = None,
    seed: int = 0,
) -> Prepared:
    """Look for images and masks.

    Args:
        dataset_dir: folder of the images, which may lie in folders below it.
        scr_dir: folder that has ``fold1`` and ``fold2`` somewhere in it; ``dataset_dir`` by default.
        classes: as in ``parse_classes``, of the names in ``ORGANS``.
        train_fold: the fold to learn from; the other one is for test.
        training: number of images for training; see ``choose_sections``, as for the next ones.
        validation: number of images for validation, out of the fold to learn from.
        test: number of images of the other fold to keep.
        seed: another seed, another choice within the fold.

    Raises:
        InputError: when images or masks are nowhere, an image is there twice or in both folds, or a class is unknown.
    """
    groups = _organs(classes)
    if train_fold not in FOLDS:
        raise InputError(f"train_fold is {train_fold}; it must be 1 or 2, the other fold is for test.")
    folder = Path(dataset_dir)
    images = _images(folder)
    folds = _folds(Path(dataset_dir if scr_dir is None else scr_dir))
    found, missing = [], []
    members: dict[int, int] = dict.fromkeys(FOLDS, 0)
    masks = 0
    for name, image in images.items():
        places = {
            number: {organ: path for organ, path in _masks(fold, name).items() if path.is_file()}
            for number, fold in folds.items()
        }
        own = [number for number, organs in places.items() if organs]
        if len(own) > 1:
            raise InputError(f"{name} has masks in both folds of SCR; unpack SCR again.")
        if not own:
            missing.append(f"The image {folder / image} has no mask in either fold of SCR.")
            continue
        organs = places[own[0]]
        members[own[0]] += 1
        masks += len(organs)
        absent = [organ for group in groups.values() for organ in group if organ not in organs]
        if absent:
            missing.append(f"The mask {_masks(folds[own[0]], name)[absent[0]]} does not exist.")
            continue
        files = {channel: [_written(organs[organ], folder) for organ in group] for channel, group in groups.items()}
        found.append(Found(image, files, name, "training" if own[0] == train_fold else "test"))
    if not found:
        raise InputError(f"No image of {folder} has masks in SCR's folds; both must be unpacked.")
    return Prepared(
        "JSRT",
        folder,
        in_sections(found, training=training, validation=validation, test=test, seed=seed),
        counts=[
            Count("images", len(images), 247),
            Count("images with a nodule", sum(name.startswith("JPCLN") for name in images), 154),
            Count("images without", sum(name.startswith("JPCNN") for name in images), 93),
            *(Count(f"fold {number}", members[number], published) for number, published in FOLDS.items()),
            Count("masks", masks, 247 * len(ORGANS)),
        ],
        classes=list(groups),
        notes=[f"Fold {train_fold} is to learn from, fold {3 - train_fold} to test."],
        missing=missing,
        enlarge=ENLARGE,
    )


def _organs(classes: str | Sequence[str]) -> Mapping[str, Sequence[str]]:
    groups = parse_classes(classes)
    unknown = [organ for group in groups.values() for organ in group if organ not in ORGANS]
    if unknown:
        raise InputError(f"SCR has no masks of '{unknown[0]}'; it has: {', '.join(ORGANS)}.")
    return groups


def _images(folder: Path) -> dict[str, str]:
    """Name without suffix, in capitals, to path below the folder."""
    images: dict[str, str] = {}
    for place, _, names in os.walk(folder):
        for name in names:
            if _IMAGE.fullmatch(name):
                key, path = name[:8].upper(), (Path(place) / name).relative_to(folder).as_posix()
                if key in images:
                    raise InputError(f"{folder} has {images[key]} and {path}; give a folder that has each image once.")
                images[key] = path
    if not images:
        raise InputError(
            f"{folder} has no image JPCLNnnn.IMG or JPCNNnnn.IMG, nor has a folder below; unpack JSRT there."
        )
    return dict(sorted(images.items()))


def _folds(folder: Path) -> dict[int, Path]:
    """Number of a fold to its folder of masks."""
    folds = {}
    for number in FOLDS:
        places = sorted(path for path in folder.rglob(f"fold{number}/masks") if path.is_dir())
        if len(places) != 1:
            raise InputError(
                f"{folder} has {len(places)} folders fold{number}/masks; scr_dir must be the folder to which SCR was "
                "unpacked."
            )
        folds[number] = places[0]
    return folds


def _masks(fold: Path, name: str) -> dict[str, Path]:
    return {organ: fold / folder / f"{name}.gif" for organ, folder in ORGANS.items()}


def _written(path: Path, folder: Path) -> str:
    """A mask's path, relative to the data set's folder where it is in there."""
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path.resolve())
