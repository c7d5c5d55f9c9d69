"""Make a datalist of the masks that were saved in the label app, to train a bundle with them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

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
    records = write_labels(Path(studies), names, Path(output), quiet)
    if not records:
        raise InputError(f"No image in {studies} has a final label for {', '.join(names)}.")
    sections = split_images([record["image"] for record in records], len(records) - validation, validation, seed)
    split: dict[str, list[dict[str, str]]] = {"training": [], "validation": []}
    for record, section in zip(records, sections, strict=True):
        split[str(section)].append(record)
    write_datalist(Path(output) / "dataset.json", split)
    counts = ", ".join(f"{len(group)} {section}" for section, group in split.items() if group)
    print(f"{Path(output) / 'dataset.json'}: {counts} images with {', '.join(names)}")


def write_labels(studies: Path, classes: Sequence[str], output: Path, quiet: bool = True) -> list[dict[str, str]]:
    """Write the final labels that know all of these classes as the bundles read them, a channel a class.

    Returns:
        records of ``image``, relative to ``studies``, and ``label``, relative to ``output``.

    Raises:
        InputError: when a class is unknown, or the folder has no table of MONAI Label.
    """
    check_classes(classes)
    table = read_json_object(studies / "datastore_v2.json", "give the folder that the label app served")
    records: list[dict[str, str]] = []
    for name, item in Bar(sorted(table.get("objects", {}).items()), name="masks", quiet=quiet):
        label = item["labels"].get(FINAL)
        if label is None:
            continue
        image, record = name + item["image"]["ext"], f"labels/{name}.nii.gz"
        radiograph: Any = read_radiograph(studies / image)
        mask = read_mask(studies / "labels" / FINAL / f"{name}{label['ext']}", radiograph)
        if set(classes) <= set(label["info"].get("classes") or drawn_classes(mask)):
            channels = split_classes(mask, classes).transpose(0, 2, 1)
            write_label(output / record, channels, radiograph.meta["original_affine"])
            records.append({"image": image, "label": record})
    return records
