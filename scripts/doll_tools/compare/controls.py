"""``doll compare controls``: labels that know the finding but not the image, to pre-train on beside the real ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from doll_monai.data.datalist import SECTIONS, read_section, write_datalist
from doll_monai.data.ground_truth import patient_of
from doll_monai.data.label_files import write_label
from doll_monai.data.label_reader import read_label
from doll_monai.findings import BACKGROUND, FINDINGS, FOREGROUND, IGNORE
from doll_monai.utils.errors import InputError
from doll_monai.utils.json_object import read_json_object
from doll_monai.utils.progress import Bar

KINDS = ("mean_map", "other_image")


def write_control_labels(labels: str, output: str, kind: str, seed: int = 0, quiet: bool = False) -> None:
    """Write a folder like that of label generation in which no label was made of its own image.

    Every channel with foreground is replaced; foreground and ignored band keep their sizes.

    Args:
        labels: folder that label generation wrote.
        output: folder to write, dataset.json and labels.
        kind: mean_map takes the places where the finding is most often in all images; other_image takes the label of
            an image of another patient with the same finding.
        seed: of the other images.
        quiet: show no progress.
    """
    if kind not in KINDS:
        raise InputError(f"kind must be one of {', '.join(KINDS)}, not '{kind}'.")
    root, folder = Path(labels), Path(output)
    datalist = root / "dataset.json"
    known = read_json_object(datalist, "give the output_dir of label generation")
    sections = {name: read_section(datalist, name) for name in SECTIONS if name in known}
    records = [record for part in sections.values() for record in part]
    found, affines = {}, {}
    for record in Bar(records, name="read", quiet=quiet):
        found[record["label"]], affines[record["label"]] = read_label(root / record["label"], ignore=True)
    patients = {record["label"]: patient_of(record["image"]) for record in records}
    having = {
        channel: [name for name, label in found.items() if (label[channel] == FOREGROUND).any()]
        for channel in range(len(FINDINGS))
    }
    means = {
        channel: np.mean([found[name][channel] == FOREGROUND for name in names], axis=0)
        for channel, names in having.items()
        if names
    }
    generator = np.random.default_rng(seed)
    for name, label in Bar(found.items(), name="write", quiet=quiet):
        control = label.copy()
        for channel, names in having.items():
            if not (label[channel] == FOREGROUND).any():
                continue
            if kind == "mean_map":
                sizes = [int((label[channel] == value).sum()) for value in (FOREGROUND, IGNORE)]
                control[channel] = _ranked(means[channel], *sizes)
            else:
                others = [other for other in names if patients[other] != patients[name]]
                if not others:
                    raise InputError(f"{FINDINGS[channel]} is in the images of one patient alone; give more labels.")
                control[channel] = found[others[generator.integers(len(others))]][channel]
        write_label(folder / name, control, affines[name])
    write_datalist(folder / "dataset.json", sections, name=f"control labels: {kind}")
    print(folder / "dataset.json")


def _ranked(values: np.ndarray, foreground: int, ignored: int) -> np.ndarray:
    """The brightest pixels as foreground and the next as ignored; equal values keep the order of the pixels."""
    order = np.argsort(-values.ravel(), kind="stable")
    label = np.full(values.size, BACKGROUND, dtype=np.uint8)
    label[order[:foreground]] = FOREGROUND
    label[order[foreground : foreground + ignored]] = IGNORE
    return label.reshape(values.shape)
