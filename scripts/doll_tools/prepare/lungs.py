"""``doll prepare lungs``: masks of Montgomery County and Shenzhen Hospital (Jaeger et al. 2014), as distributed.

Montgomery has ``MontgomerySet/CXR_png`` with ``ManualMask/leftMask`` and ``rightMask``; Shenzhen has
``ChinaSet_AllFiles/CXR_png``, and masks from another place (Stirenko et al. 2018) in a folder ``mask`` or ``masks``,
``CHNCXR_0001_0_mask.png``, for part of the images.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from doll_monai.utils.errors import InputError
from doll_tools.prepare.preparation import Count, Prepared, Radiograph, command, find_files, join_masks

SETS = {"MCUCXR": ("Montgomery", 138, 138), "CHNCXR": ("Shenzhen", 662, 566)}
"""Beginning of the file names: name, images, images with masks."""

_NAME = r"((?:MCUCXR|CHNCXR)_\d{4}_[01])(?:_mask)?\.png"
_ONE_LUNG, _BOTH_LUNGS = ("leftMask", "rightMask"), "(?!leftMask/|rightMask/)[^/]*mask[^/]*"


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
    places = ("CXR_png", *_ONE_LUNG, _BOTH_LUNGS)
    images, left, right, both = (find_files(folder, f"(?:.*/)?{place}/{_NAME}") for place in places)
    left, right = ({name: path for name, path in side.items() if name not in both} for side in (left, right))
    found: list[Radiograph] = []
    missing: list[str] = []
    for masks in ({"mask": both}, {"leftMask": left, "rightMask": right}):
        drawn = images.keys() & {name for files in masks.values() for name in files}
        own = {name: images[name] for name in sorted(drawn)}
        joined, lost = join_masks(own, masks, {"lungs": list(masks)}, patient=_name)
        found += joined
        missing += lost
    if not found:
        raise InputError(
            f"{folder} has no image in a folder CXR_png with its mask in a folder leftMask, rightMask, mask or masks; "
            "dataset_dir must be above all of them; for other images there is doll prepare folder."
        )
    counts, names = [], []
    for prefix, (name, published, annotated) in SETS.items():
        if there := sum(image.startswith(prefix) for image in images):
            names.append(name)
            annotations = sum(image.patient.startswith(prefix) for image in found)
            counts += [Count(f"{name}, images", there, published), Count(f"{name}, with masks", annotations, annotated)]
    bare = len(images) - len(found) - len(missing)
    notes = [f"{bare} images without masks left out."] if bare else []
    return Prepared(f"Lungs of {' and '.join(names)}", folder, found, counts, ["lungs"], notes, missing)


def _name(image: str) -> str:
    return PurePosixPath(image).stem.upper()
