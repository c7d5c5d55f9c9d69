"""``doll prepare covid``: infection in COVID-QU-Ex (Tahir et al. 2021) or QaTa-COV19-v2 (Degerli et al. 2022).

COVID-QU-Ex has ``Infection Segmentation Data/Infection Segmentation Data/Train/COVID-19/images`` beside ``lung masks``
and ``infection masks`` (the same with ``Lung Segmentation Data``, without infection; ``Val``, ``Test``; ``Non-COVID``,
``Normal``). QaTa-COV19-v2 has ``Train Set/Images/NAME.png`` and ``Train Set/Ground-truths/mask_NAME.png``, and the same
in ``Test Set``. Both splits are their owners'.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path, PurePosixPath

from doll_monai.utils.errors import InputError
from doll_tools.prepare.folder import files_by_name
from doll_tools.prepare.preparation import Count, Prepared, Radiograph, command, join_masks
from doll_tools.prepare.sections import in_several_pools

GROUPS = ("COVID-19", "Non-COVID", "Normal")
MASKS = {"infection": "infection masks", "lungs": "lung masks"}
"""Class to COVID-QU-Ex's folder of its masks."""
POOLS = {"Train": "training", "Val": "validation", "Test": "test"}

_PARTS = {"infection": "Infection Segmentation Data", "lungs": "Lung Segmentation Data"}
_PUBLISHED = {"infection": {"COVID-19": 2913}, "lungs": {"COVID-19": 11956, "Non-COVID": 11263, "Normal": 10701}}
_QATA = {"Train Set": ("training", 7145), "Test Set": ("test", 2113)}


@command
def prepare_covid(dataset_dir: str, classes: str = "infection", groups: str | None = None) -> Prepared:
    """COVID-QU-Ex or QaTa-COV19-v2; which of the two it is, the folders say. The owner's split stays.

    Example: doll prepare covid --dataset_dir QaTa-COV19 --output output/covid --training 5 --validation 10

    Args:
        dataset_dir: folder to which the set was unpacked, or one further down.
        classes: infection, lungs or both, separated by commas; lungs are in COVID-QU-Ex alone.
        groups: of COVID-QU-Ex: COVID-19, Non-COVID, Normal; by default COVID-19 for infection, all for lungs alone. An
            image of another group than COVID-19 has no infection, whether there is an empty mask or none.
    """
    wanted = _chosen(classes, tuple(MASKS), "classes")
    folder = Path(dataset_dir)
    root = _first(folder, ("", "QaTa-COV19-v2", "QaTa-COV19/QaTa-COV19-v2"), "Train Set/Images")
    if root is not None:
        if wanted != ["infection"]:
            raise InputError("QaTa-COV19 has masks of infection alone; leave classes out.")
        return _qata(folder, root)
    part = _PARTS[wanted[0]]
    root = _first(folder, ("", part, f"{part}/{part}"), f"Train/{GROUPS[0]}/images")
    if root is None:
        raise InputError(
            f"{folder} has neither '{part}/{part}/Train/{GROUPS[0]}/images' (COVID-QU-Ex) nor 'Train Set/Images' "
            "(QaTa-COV19-v2); dataset_dir must be the folder to which the set was unpacked."
        )
    return _qu_ex(folder, root, wanted, _chosen(groups or ",".join(_PUBLISHED[wanted[0]]), GROUPS, "groups"))


def _qu_ex(folder: Path, root: str, classes: list[str], groups: list[str]) -> Prepared:
    found: list[Radiograph] = []
    missing: list[str] = []
    counts = dict.fromkeys(groups, 0)
    for (split, pool), group in product(POOLS.items(), groups):
        images = files_by_name(folder, f"{root}/{split}/{group}/images")
        places = {name: f"{root}/{split}/{group}/{MASKS[name]}" for name in classes}
        joined, lost = join_masks(
            images,
            {place: files_by_name(folder, place) if (folder / place).is_dir() else {} for place in places.values()},
            {name: [place] for name, place in places.items()},
            pool,
            optional=() if group == "COVID-19" else [places.get("infection", "")],
        )
        counts[group] += len(images)
        found += joined
        missing += lost
    published = _PUBLISHED[classes[0]]
    numbers = [Count(f"{group}, images", counts[group], published.get(group)) for group in groups]
    return Prepared("COVID-QU-Ex", folder, found, numbers, classes, missing=missing)


def _qata(folder: Path, root: str) -> Prepared:
    found: list[Radiograph] = []
    missing: list[str] = []
    counts: list[Count] = []
    for split, (pool, published) in _QATA.items():
        images, masks = (files_by_name(folder, f"{root}/{split}/{name}") for name in ("Images", "Ground-truths"))
        counts += [Count(f"{split}, images", len(images), published), Count(f"{split}, masks", len(masks), published)]
        joined, lost = join_masks(
            images, {"Ground-truths": masks}, {"infection": ["Ground-truths"]}, pool, _qata_patient
        )
        found += joined
        missing += [*lost, *(f"The mask {masks[key]} has no image in Images." for key in sorted(masks.keys() - images))]
    shared = in_several_pools([image.patient for image in found], [image.pool for image in found])
    notes = [f"{len(shared)} patients are in both sets of the owner, such as {shared[0]}."] if shared else []
    return Prepared("QaTa-COV19-v2", folder, found, counts, ["infection"], notes, missing)


def _qata_patient(image: str) -> str:
    name = PurePosixPath(image).stem
    return name.partition("_")[0] if name.startswith("sub-S") else name


def _first(folder: Path, places: Sequence[str], inside: str) -> str | None:
    return next((place for place in places if (folder / place / inside).is_dir()), None)


def _chosen(names: str, known: Sequence[str], what: str) -> list[str]:
    """Names out of the known ones, in their order."""
    wanted = {name.strip() for name in names.split(",")}
    if unknown := sorted(wanted - set(known)):
        raise InputError(f"{what} has '{', '.join(unknown)}'; it must be of {', '.join(known)}, separated by commas.")
    return [name for name in known if name in wanted]
