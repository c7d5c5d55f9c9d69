"""Infected areas of COVID-19: COVID-QU-Ex (Tahir et al. 2021) and QaTa-COV19-v2 (Degerli et al. 2022) as on Kaggle.

COVID-QU-Ex has ``Infection Segmentation Data/Infection Segmentation Data/Train/COVID-19/images`` beside ``lung masks``
and ``infection masks`` (the same with ``Lung Segmentation Data``, without infection; ``Val``, ``Test``; ``Non-COVID``,
``Normal``). QaTa-COV19-v2 has ``Train Set/Images/NAME.png`` and ``Train Set/Ground-truths/mask_NAME.png``, and the same
in ``Test Set``. Both splits are their owners'.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from doll_monai.utils.errors import InputError
from doll_tools.prepare.mask_folders import Found, files_by_name, in_sections
from doll_tools.prepare.preparation import Prepared
from doll_tools.prepare.published import Count

GROUPS = ("COVID-19", "Non-COVID", "Normal")
MASKS = {"infection": "infection masks", "lungs": "lung masks"}
"""Class to COVID-QU-Ex's folder of its masks."""
POOLS = {"Train": "training", "Val": "validation", "Test": "test"}

_PARTS = {"infection": "Infection Segmentation Data", "lungs": "Lung Segmentation Data"}
_PUBLISHED = {"infection": {"COVID-19": 2913}, "lungs": {"COVID-19": 11956, "Non-COVID": 11263, "Normal": 10701}}
_QATA = {"Train Set": ("training", 7145), "Test Set": ("test", 2113)}
_SUBJECT = re.compile(r"sub-S\d+")

Names = str | Sequence[str]


def prepare(
    dataset_dir: str | os.PathLike[str],
    *,
    classes: Names = "infection",
    groups: Names | None = None,
    training: int | None = None,
    validation: int | None = None,
    test: int | None = None,
    seed: int = 0,
) -> Prepared:
    """Look through whichever of the two sets is in a folder.

    Args:
        dataset_dir: the folder to which the set was unpacked, or one further down.
        classes: ``infection``, ``lungs`` or both, separated by commas; QaTa-COV19 has infection alone.
        groups: of COVID-QU-Ex, the groups of images to take: by default COVID-19 where infection is asked for, else all.
            An image of another group has no infection, whether there is an empty mask or none.
        training: number of images for training; see ``choose_sections``, as for the next ones.
        validation: number of images for validation.
        test: number of images for test at the most.
        seed: another seed, another choice within the owners' splits.

    Raises:
        InputError: when neither set is there, or a class or group is unknown.
    """
    wanted = _chosen(classes, tuple(MASKS), "classes")
    folder = Path(dataset_dir)
    numbers = {"training": training, "validation": validation, "test": test, "seed": seed}
    qata = _first(folder, ("", "QaTa-COV19-v2", "QaTa-COV19/QaTa-COV19-v2"), "Train Set/Images")
    if qata is not None:
        if wanted != ["infection"]:
            raise InputError("QaTa-COV19 has masks of infection alone; leave classes out.")
        return _qata(folder, qata, numbers)
    part = _PARTS["infection" if "infection" in wanted else "lungs"]
    root = _first(folder, ("", part, f"{part}/{part}"), f"Train/{GROUPS[0]}/images")
    if root is None:
        raise InputError(
            f"{folder} has neither '{part}/{part}/Train/{GROUPS[0]}/images' (COVID-QU-Ex) nor 'Train Set/Images' "
            "(QaTa-COV19-v2); dataset_dir must be the folder to which the set was unpacked."
        )
    default = GROUPS[:1] if "infection" in wanted else GROUPS
    return _qu_ex(folder, root, wanted, _chosen(default if groups is None else groups, GROUPS, "groups"), numbers)


def _qu_ex(folder: Path, root: Path, classes: list[str], groups: list[str], numbers: dict) -> Prepared:
    found, missing = [], []
    counts = dict.fromkeys(groups, 0)
    for split, pool in POOLS.items():
        for group in groups:
            place = root / split / group
            if not (place / "images").is_dir():
                missing.append(f"The folder {place / 'images'} does not exist.")
                continue
            images = files_by_name(place / "images")
            counts[group] += len(images)
            masks = {name: _optional(place / MASKS[name]) for name in classes}
            for key, path in images.items():
                lost = [name for name in classes if key not in masks[name] and _expected(name, group)]
                if lost:
                    missing.append(f"The image {path} has no mask in {place / MASKS[lost[0]]}.")
                    continue
                files = {name: [_below(masks[name][key], folder)] if key in masks[name] else [] for name in classes}
                found.append(Found(_below(path, folder), files, _below(path, folder), pool))
    published = _PUBLISHED["infection" if "infection" in classes else "lungs"]
    return Prepared(
        "COVID-QU-Ex",
        folder,
        in_sections(found, **numbers),
        counts=[Count(f"{group}, images", counts[group], published.get(group)) for group in groups],
        classes=classes,
        missing=missing,
    )


def _qata(folder: Path, root: Path, numbers: dict) -> Prepared:
    found, missing, counts = [], [], []
    people: dict[str, set[str]] = {}
    for split, (pool, published) in _QATA.items():
        images, masks = (files_by_name(root / split / name) for name in ("Images", "Ground-truths"))
        counts += [Count(f"{split}, images", len(images), published), Count(f"{split}, masks", len(masks), published)]
        for key, path in images.items():
            if key not in masks:
                missing.append(f"The mask {root / split / 'Ground-truths' / f'mask_{key}.png'} does not exist.")
                continue
            subject = _SUBJECT.match(key)
            patient = subject.group() if subject else key
            people.setdefault(pool, set()).add(patient)
            found.append(Found(_below(path, folder), {"infection": [_below(masks[key], folder)]}, patient, pool))
        missing += [f"The mask {path} has no image in Images." for key, path in masks.items() if key not in images]
    shared = people.get("training", set()) & people.get("test", set())
    return Prepared(
        "QaTa-COV19-v2",
        folder,
        in_sections(found, **numbers),
        counts=counts,
        classes=["infection"],
        notes=[f"{len(shared)} patients are in both sets of the owner, such as {min(shared)}."] if shared else [],
        missing=missing,
    )


def _expected(name: str, group: str) -> bool:
    """Whether a mask must be there: infection is drawn for COVID-19 alone."""
    return name == "lungs" or group == GROUPS[0]


def _optional(folder: Path) -> dict[str, Path]:
    return files_by_name(folder) if folder.is_dir() else {}


def _below(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _first(folder: Path, places: Sequence[str], inside: str) -> Path | None:
    return next((folder / place for place in places if (folder / place / inside).is_dir()), None)


def _chosen(names: Names, known: Sequence[str], what: str) -> list[str]:
    """Names out of the known ones, in their order."""
    wanted = {name.strip() for name in (names.split(",") if isinstance(names, str) else names)}
    unknown = sorted(wanted - set(known))
    if unknown or not wanted:
        raise InputError(f"{what} has '{', '.join(unknown)}'; it must be of {', '.join(known)}, separated by commas.")
    return [name for name in known if name in wanted]
