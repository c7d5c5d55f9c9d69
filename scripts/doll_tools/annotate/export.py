"""Make a datalist of the masks that were saved in the label app, to train a bundle with them.

Example:
    doll annotate export --studies IMAGES --classes lungs --output output/annotated --validation 5
    python -m monai.bundle run --bundle_root bundles/lung_cxr_segmentation \
        --config_file bundles/lung_cxr_segmentation/configs/train.json \
        --dataset_dir IMAGES --label_dir output/annotated --pretrained PRETRAINED
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from doll_monai.data.datalist import write_datalist
from doll_monai.data.label_files import write_label
from doll_monai.transforms.reading import read_radiograph
from doll_monai.utils.errors import InputError
from doll_monai.utils.json_object import read_json_object
from doll_monai.utils.progress import Bar
from doll_tools.annotate.masks import FINAL, check_classes, drawn_classes, read_mask, split_classes
from doll_tools.prepare.sections import split_images


def export(
    studies: str, classes: str | tuple[str, ...], output: str, validation: int = 0, seed: int = 0, quiet: bool = False
) -> None:
    """Write one label file an image, and dataset.json.

    Args:
        studies: folder of the images that were annotated.
        classes: classes that an image's mask must know, in the order of the label's channels: lungs,heart.
        output: folder for dataset.json and labels/.
        validation: images for validation; all others are for training.
        seed: another seed, other images for validation.
        quiet: show no progress.
    """
    names = classes.split(",") if isinstance(classes, str) else list(classes)
    files = annotated(Path(studies), names)
    if not files:
        raise InputError(f"No image in {studies} has a final label for {', '.join(names)}.")
    sections = split_images(list(files), len(files) - validation, validation, seed)
    records = write_labels(Path(studies), Bar(files.items(), name="masks", quiet=quiet), names, Path(output))
    split = {
        name: [record for record, section in zip(records, sections, strict=True) if section == name]
        for name in ("training", "validation")
    }
    write_datalist(Path(output) / "dataset.json", split)
    counts = ", ".join(f"{len(group)} {section}" for section, group in split.items() if group)
    print(f"{Path(output) / 'dataset.json'}: {counts} images with {', '.join(names)}")


def annotated(studies: Path, classes: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Images whose final masks know of all these classes: id to the names of image and mask.

    Raises:
        InputError: when a class is unknown, or the folder has no table of MONAI Label.
    """
    check_classes(classes)
    content = read_json_object(studies / "datastore_v2.json", "give the folder that the label app served")
    found = {}
    for name, item in sorted(content.get("objects", {}).items()):
        if label := item["labels"].get(FINAL):
            known = label["info"].get("classes") or drawn_classes(read_mask(_mask(studies, name + label["ext"])))
            if set(classes) <= set(known):
                found[name] = name + item["image"]["ext"], name + label["ext"]
    return found


def write_labels(
    studies: Path, files: Iterable[tuple[str, tuple[str, str]]], classes: Sequence[str], output: Path
) -> list[dict[str, str]]:
    """Write masks as the bundles read them, a channel a class; returns records of ``image`` and ``label``."""
    records = []
    for name, (image, mask) in files:
        radiograph: Any = read_radiograph(studies / image)
        values = read_mask(_mask(studies, mask), radiograph.shape[1:])
        channels = split_classes(values, classes).transpose(0, 2, 1).astype(np.uint8)
        records.append({"image": image, "label": f"labels/{name}.nii.gz"})
        write_label(output / records[-1]["label"], channels, radiograph.meta["original_affine"])
    return records


def _mask(studies: Path, name: str) -> Path:
    return studies / "labels" / FINAL / name
