"""Make a datalist of the masks that were saved in the label app, to train a bundle with them.

Example:
    doll annotate export --studies IMAGES --classes lungs --output output/annotated --validation 5
    python -m monai.bundle run --bundle_root bundles/lung_cxr_segmentation \
        --config_file bundles/lung_cxr_segmentation/configs/train.json \
        --dataset_dir IMAGES --label_dir output/annotated --pretrained PRETRAINED
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from doll_monai.data.datalist import write_datalist
from doll_monai.data.label_files import write_label
from doll_monai.transforms.reading import LoadRadiographd
from doll_monai.utils.errors import InputError
from doll_monai.utils.progress import Bar
from doll_tools.annotate.label_map import CLASSES, class_bits, read_mask, split_classes
from doll_tools.prepare.sections import split_images

TABLE = "datastore_v2.json"
FINAL = "final"


def export(
    studies: str, classes: str | tuple[str, ...], output: str, validation: int = 0, seed: int = 0, quiet: bool = False
) -> None:
    """Write one label file a radiograph, and dataset.json.

    Args:
        studies: folder of the images that were annotated.
        classes: classes that a radiograph's mask must know, in the order of the label's channels: lungs,heart.
        output: folder for dataset.json and labels/.
        validation: images for validation; all others are for training.
        seed: another seed, other images for validation.
        quiet: show no progress.
    """
    names = list(classes.split(",") if isinstance(classes, str) else classes)
    bits = class_bits(CLASSES)
    if unknown := [name for name in names if name not in bits]:
        raise InputError(f"There is no class {unknown[0]}; there are: {', '.join(bits)}.")
    try:
        objects = json.loads((Path(studies) / TABLE).read_text())["objects"]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{Path(studies) / TABLE} cannot be read; give the folder that the label app served."
        ) from error
    found = {
        name: item
        for name, item in sorted(objects.items())
        if set(names) <= set(item["labels"].get(FINAL, {}).get("info", {}).get("classes", []))
    }
    if not found:
        raise InputError(f"No radiograph in {studies} has a final label for {', '.join(names)}.")
    sections = split_images(list(found), len(found) - validation, validation, seed)
    load = LoadRadiographd("image")
    records: dict[str, list[dict[str, str]]] = {"training": [], "validation": [], "test": []}
    for (name, item), section in zip(Bar(found.items(), name="masks", quiet=quiet), sections, strict=True):
        image = name + item["image"]["ext"]
        radiograph = load({"image": str(Path(studies) / image)})["image"]
        path = Path(studies) / "labels" / FINAL / (name + item["labels"][FINAL]["ext"])
        mask = read_mask(path, (radiograph.shape[1], radiograph.shape[2]), 255)
        channels = split_classes(mask, [bits[own] for own in names]).transpose(0, 2, 1)
        write_label(
            Path(output) / "labels" / f"{name}.nii.gz", channels.astype(np.uint8), radiograph.meta["original_affine"]
        )
        records[section or "training"].append({"image": image, "label": f"labels/{name}.nii.gz"})
    write_datalist(Path(output) / "dataset.json", records)
    counts = ", ".join(f"{len(group)} {section}" for section, group in records.items() if group)
    print(f"{Path(output) / 'dataset.json'}: {counts} images with {', '.join(names)}")
