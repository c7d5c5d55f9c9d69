"""``doll prepare lungs``: masks of Montgomery County and Shenzhen Hospital (Jaeger et al. 2014), as distributed.

Montgomery has ``MontgomerySet/CXR_png`` with ``ManualMask/leftMask`` and ``rightMask``; Shenzhen has
``ChinaSet_AllFiles/CXR_png``, and masks from another place (Stirenko et al. 2018) in a folder ``mask`` or ``masks``,
``CHNCXR_0001_0_mask.png``, for part of the images.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from doll_monai.utils.errors import InputError
from doll_tools.prepare.preparation import Count, Prepared, Radiograph, command, enter, walk

SETS = {"MCUCXR": ("Montgomery", 138, 138), "CHNCXR": ("Shenzhen", 662, 566)}
"""Beginning of the file names: name, images, images with masks."""

_NAME = re.compile(r"((MCUCXR|CHNCXR)_\d{4}_[01])(_mask)?\.png", re.IGNORECASE)
_SIDES = ("leftMask", "rightMask")


@command
def prepare_lungs(dataset_dir: str) -> Prepared:
    """Lungs of Montgomery and Shenzhen, whichever is there; the masks of both lungs are joined.

    Images lie in folders CXR_png, masks in folders whose name has "mask" in it. Images without masks are left out.
    Other images with folders of masks: doll prepare folder.

    Example: doll prepare lungs --dataset_dir NLM --output output/lungs --training 10 --validation 10

    Args:
        dataset_dir: folder above MontgomerySet, ChinaSet_AllFiles and Shenzhen's masks.
    """
    folder = Path(dataset_dir)
    images: dict[str, str] = {}
    masks: dict[str, dict[str, str]] = defaultdict(dict)
    for path in walk(folder):
        match, inside = _NAME.fullmatch(path.name), path.parent.name
        if match and "mask" in inside.lower():
            enter(masks[match[1].upper()], inside if inside in _SIDES else "both", str(path), folder)
        elif match and inside == "CXR_png":
            enter(images, match[1].upper(), str(path), folder)
    found, missing = [], []
    for name, image in images.items():
        sides = masks.get(name, {})
        absent = [side for side in _SIDES if side not in sides]
        if "both" in sides or not absent:
            lungs = [sides["both"]] if "both" in sides else [sides[side] for side in _SIDES]
            found.append(Radiograph(image, name, masks={"lungs": lungs}))
        elif sides:
            missing.append(f"The mask {folder / next(iter(sides.values()))} has none of the other lung in {absent[0]}.")
    if not found:
        raise InputError(
            f"{folder} has no image in a folder CXR_png with its mask in a folder leftMask, rightMask, mask or masks; "
            "dataset_dir must be above all of them; for other images there is doll prepare folder."
        )
    counts, names = [], []
    for prefix, (name, published, annotated) in SETS.items():
        if there := sum(image.startswith(prefix) for image in images):
            names.append(name)
            drawn = sum(image.patient.startswith(prefix) for image in found)
            counts += [Count(f"{name}, images", there, published), Count(f"{name}, with masks", drawn, annotated)]
    bare = len(images) - len(found) - len(missing)
    notes = [f"{bare} images without masks left out."] if bare else []
    return Prepared(f"Lungs of {' and '.join(names)}", folder, found, counts, ["lungs"], notes, missing)
