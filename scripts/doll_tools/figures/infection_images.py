"""Synthetic images that all show an infection: few of a phantom do, and an empty truth says nothing about a network."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from doll_monai.data.datalist import read_table
from doll_monai.utils.atomic import write_atomic
from doll_monai.utils.errors import InputError
from doll_tools.compare.split import IMAGE, INDEX
from doll_tools.figures.commands import run_printed
from doll_tools.prepare.masks import PATIENT_COLUMN

IMAGES, CLASS, FINDING = "images", "infection", "Pneumonia"
"""Folder of the phantom, its class, and the finding whose place the class is."""
COUNT, SEED, SIZE = 700, 2, 256
"""Of the phantom: about one image in twelve shows an infection; the seed is none of ``make demo``."""
MARKER = "phantom.json"


def infection_images(folder: Path) -> Path:
    """Write a phantom below a folder, unless it is there, and ``index.csv`` of its images with an infection.

    Returns:
        the folder.

    Raises:
        InputError: when the phantom cannot be written.
    """
    source = folder / IMAGES
    if not (source / MARKER).is_file():
        numbers = {"count": COUNT, "seed": SEED, "size": SIZE}
        arguments = [text for name, value in numbers.items() for text in (f"--{name}", str(value))]
        run_printed(["python", "-m", "doll_tools.phantom", "--output", str(source), *arguments])
    write_infection_index(folder)
    return folder


def write_infection_index(folder: Path) -> int:
    """Write ``index.csv`` of the images in ``images`` below that show an infection.

    Returns:
        the number of images.

    Raises:
        InputError: when there is none.
    """
    source = folder / IMAGES
    shown = {
        row["Path"].partition("/")[2]
        for _, row in read_table(source / "truth.csv", ("Path", "finding"))
        if row["finding"] == FINDING
    }
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow((IMAGE, PATIENT_COLUMN, CLASS))
    number = 0
    for _, row in read_table(source / INDEX, (IMAGE, PATIENT_COLUMN, CLASS)):
        if row[IMAGE] in shown:
            writer.writerow((f"{IMAGES}/{row[IMAGE]}", row[PATIENT_COLUMN], f"{IMAGES}/{row[CLASS]}"))
            number += 1
    if not number:
        raise InputError(f"No image in {source} shows an infection; delete the folder to have it made anew.")
    # the marker says of the folder above too that its images are synthetic
    contents = {folder / INDEX: stream.getvalue().encode(), folder / MARKER: (source / MARKER).read_bytes()}
    for path, content in contents.items():
        if not path.is_file() or path.read_bytes() != content:
            write_atomic(path, content)
    return number
