"""Small trees with every data set's names and oddities, and what the tests of preparations look at."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from doll_monai.findings import FINDINGS
from doll_monai.transforms.reading import LoadLabeld

SECTIONS = ("training", "validation", "test")
HEADER = ["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *FINDINGS]
SMALL = "CheXpert-v1.0-small/"
LABELS = ["1.0", "0", "-1", "", "-1.0", "1", *[""] * 8]
SIDE = 2048
ORGANS = {
    "right lung": (100, 200),
    "left lung": (100, 800),
    "heart": (500, 600),
    "right clavicle": (50, 200),
    "left clavicle": (50, 1023),
}
"""Where each of SCR's masks has its one pixel, (row, column)."""


def picture(path: Path, pixels: np.ndarray | None = None, **options: Any) -> Path:
    """A gray picture, 8 x 5 by default."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((5, 8), 77, np.uint8) if pixels is None else pixels).save(path, **options)
    return path


def mask(*pixels: tuple[int, int], shape: tuple[int, int] = (5, 8)) -> np.ndarray:
    """(row, column) pixels of foreground."""
    result = np.zeros(shape, np.uint8)
    for pixel in pixels:
        result[pixel] = 255
    return result


def tree(folder: Path) -> dict[str, str]:
    """Every file below a folder, and a hash of its content."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def read_datalist(output: Path) -> dict[str, Any]:
    """A data set as it was written; sections that are left out are empty."""
    content = json.loads((output / "dataset.json" if output.is_dir() else output).read_text())
    return {**{section: [] for section in SECTIONS}, **content}


def images_of(output: Path) -> list[list[str]]:
    """Images of training, validation and test."""
    content = read_datalist(output)
    return [[record["image"] for record in content[section]] for section in SECTIONS]


def all_images(output: Path) -> list[str]:
    return [image for images in images_of(output) for image in images]


def sizes(output: Path) -> list[int]:
    """Numbers of training, validation and test images."""
    return list(map(len, images_of(output)))


def labels_of(output: Path) -> dict[str, np.ndarray]:
    """Every image of a datalist and its label, (C, W, H), as the bundles read it."""
    load, content = LoadLabeld("label"), read_datalist(output)
    records = [record for section in SECTIONS for record in content[section]]
    return {item["image"]: np.asarray(load({"label": str(output / item["label"])})["label"]) for item in records}


def counted(printed: str, what: str) -> list[str]:
    """Numbers of one thing as they were printed: found, published, and a word where they differ."""
    (line,) = (line for line in printed.splitlines() if line.startswith(f"{what}  "))
    return line.removeprefix(what).split()


def chexpert_path(patient: int, split: str = "train", prefix: str = SMALL, view: str = "view1_frontal") -> str:
    return f"{prefix}{split}/patient{patient:05d}/study1/{view}.jpg"


def chexpert_row(path: str, labels: list[str] = LABELS, view: str = "") -> list[str]:
    return [path, "Female", "60", view or ("Lateral" if "lateral" in path else "Frontal"), "AP", *labels]


def write_csv(path: Path, rows: list[list[str]], header: list[str] = HEADER) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def chexpert(folder: Path) -> dict[str, Any]:
    """CheXpert-v1.0-small: 40 patients in train, each with a lateral image too, and 3 in valid."""
    train = [chexpert_path(patient, view=view) for patient in range(40) for view in ("view1_frontal", "view2_lateral")]
    valid = [chexpert_path(patient, "valid") for patient in range(90, 93)]
    for name, paths in (("train.csv", train), ("valid.csv", valid)):
        write_csv(folder / name, list(map(chexpert_row, paths)))
        for path in paths:
            picture(folder / path.removeprefix(SMALL))
    return {"dataset_dir": folder}


def nih(folder: Path) -> dict[str, Any]:
    """NIH's broken headers and spellings: 30 patients with two images each to train on, 3 with one to test."""
    rows, trained, tested = [], [], []
    for patient in range(1, 34):
        for follow_up in range(2 if patient <= 30 else 1):
            name = f"{patient:08d}_{follow_up:03d}.png"
            findings = "Cardiomegaly|Effusion" if patient % 2 else "No Finding"
            rows.append(f"{name},{findings},{follow_up},{patient},058Y,M,PA,2682,2749,0.143,0.143,\n")
            (trained if patient <= 30 else tested).append(name)
            picture(folder / f"images_{1 + patient % 2:03d}" / "images" / name)
    header = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    header += "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],\n"
    boxes = "00000031_000.png,Infiltrate,256.0,512,102.4,512,,,\n00000031_000.png,Mass,1000,0,60,10.24\n"
    (folder / "Data_Entry_2017.csv").write_text(header + "".join(rows))
    (folder / "train_val_list.txt").write_text("\n".join(trained) + "\n")
    (folder / "test_list.txt").write_text("\r\n".join(tested))
    (folder / "BBox_List_2017.csv").write_text("Image Index,Finding Label,Bbox [x,y,w,h],,,\n" + boxes)
    return {"dataset_dir": folder}


def jsrt(folder: Path) -> dict[str, Any]:
    """Raw images of the real size (sparse files), masks of half the size; odd numbers are in fold 1."""
    for name in ("JPCLN001", "JPCLN002", "JPCNN001", "JPCNN003"):
        raw_image(folder / "All247images" / f"{name}.IMG")
        masks = folder / "scratch" / f"fold{2 - int(name[-1]) % 2}" / "masks"
        for organ, pixel in ORGANS.items():
            picture(masks / organ / f"{name}.gif", mask(pixel, shape=(SIDE // 2, SIDE // 2)))
    return {"dataset_dir": folder, "training": 1, "validation": 1}


def raw_image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        file.truncate(2 * SIDE * SIDE)


def lungs(folder: Path) -> dict[str, Any]:
    """Five images of Montgomery, four of Shenzhen of which one has no mask, and what lies beside them."""
    for number in range(1, 6):
        name = f"MCUCXR_{number:04d}_{number % 2}.png"
        picture(folder / "MontgomerySet" / "CXR_png" / name)
        picture(folder / "MontgomerySet" / "ManualMask" / "leftMask" / name, mask((1, 6)) > 0)
        picture(folder / "MontgomerySet" / "ManualMask" / "rightMask" / name, mask((2, 1)) > 0)
        (folder / "__MACOSX" / "MontgomerySet" / "CXR_png").mkdir(parents=True, exist_ok=True)
        (folder / "__MACOSX" / "MontgomerySet" / "CXR_png" / name).write_bytes(b"junk")
    for number in range(1, 5):
        name = f"CHNCXR_{number:04d}_{number % 2}"
        picture(folder / "ChinaSet_AllFiles" / "CXR_png" / f"{name}.png", np.full((5, 8, 3), 9, np.uint8))
        if number < 4:
            picture(folder / "mask" / "mask" / f"{name}_mask.png", mask((3, 3)))
    (folder / "ChinaSet_AllFiles" / "CXR_png" / "Thumbs.db").write_bytes(b"junk")
    return {"dataset_dir": folder, "training": 2, "validation": 1}


def qu_ex(folder: Path, part: str = "Infection Segmentation Data") -> dict[str, Any]:
    """Four images to train, two to validate and two to test, of each group; infection is drawn for COVID-19 alone."""
    for split, count in (("Train", 4), ("Val", 2), ("Test", 2)):
        for group in ("COVID-19", "Non-COVID", "Normal"):
            place = folder / part / part / split / group
            for number in range(count):
                name = f"{split.lower()}_{group.lower()}_{number}.png"
                picture(place / "images" / name)
                picture(place / "lung masks" / name, mask((1, 1), (2, 2)))
                if group == "COVID-19" and "Infection" in part:
                    picture(place / "infection masks" / name, mask((4, 7)))
    return {"dataset_dir": folder}


def qata(folder: Path) -> dict[str, Any]:
    """Ten patients with two images and one without a patient's name to train on; two images to test."""
    names = [f"sub-S0{number:04d}_ses-E0{image}_run-1_bp-chest_vp-ap_dx" for number in range(10) for image in range(2)]
    for split, images in (("Train Set", [*names, "covid_1"]), ("Test Set", ["sub-S09999_ses-E01", "covid_7"])):
        for name in images:
            picture(folder / "QaTa-COV19-v2" / split / "Images" / f"{name}.png")
            picture(folder / "QaTa-COV19-v2" / split / "Ground-truths" / f"mask_{name}.png", mask((2, 5)))
    return {"dataset_dir": folder, "validation": 6}


def findings(folder: Path) -> dict[str, Any]:
    """A table of 20 images of ten patients with three observations, spelled as people do."""
    rows = []
    for number in range(20):
        picture(folder / f"images/p{number // 2}_{number}.png")
        rows.append([f"images/p{number // 2}_{number}.png", f"p{number // 2}", str(number % 2), "-1", "", str(number)])
    write_csv(folder / "findings.csv", rows, ["image", "Patient", "lung_opacity", "EDEMA", "Pleural-Effusion", "age"])
    return {"dataset_dir": folder, "csv": folder / "findings.csv", "seed": 2}


def folders(folder: Path) -> dict[str, Any]:
    """Twelve images of six patients with masks in folders; the heart is drawn in half of them."""
    for number in range(12):
        name = f"p{number // 2}/{number % 2}"
        picture(folder / "images" / f"{name}.jpg")
        picture(folder / "right" / f"{name}.png", mask((1, 1)))
        picture(folder / "left" / f"{name}_mask.png", mask((1, 6)))
        if number % 2:
            picture(folder / "heart" / f"p{number // 2}" / f"mask_{number % 2}.bmp", mask((3, 4)))
    picture(folder / "images" / "nobody.png")
    options = {"masks": "lungs=right+left,heart", "empty_if_absent": True, "training": 4, "validation": 2}
    return {"dataset_dir": folder, "images": "images", "patient": "p[0-9]+", **options}


def table(folder: Path) -> dict[str, Any]:
    """A table of six images of four patients; masks a and b are one pixel each, b of the last image is blank."""
    rows = []
    for number, patient in enumerate("ppqrss"):
        picture(folder / f"images/{number}.png", mask((1, 6)))
        files = [f"masks/{number}_{name}.png" for name in "ab"]
        for path, pixel in zip(files, ((1, 6), (3, 2)), strict=True):
            picture(folder / path, mask(pixel))
        rows.append([f"images/{number}.png", *files, patient])
    rows[-1][2] = ""
    write_csv(folder / "index.csv", rows, ["image", "a", "b", "patient"])
    return {"csv": folder / "index.csv", "classes": "both=a+b,one=a", "training": 1, "validation": 1}


SETS: dict[str, tuple[Callable[[Path], dict[str, Any]], str, str, str]] = {
    "chexpert": (chexpert, "chexpert", r"patient\d+", ""),
    "nih": (nih, "nih", r"\d{8}", "boxes.csv"),
    "jsrt": (jsrt, "jsrt", r"JPC..\d+", "labels"),
    "lungs": (lungs, "lungs", r"(CHN|MCU)CXR_\d+", "labels"),
    "qu_ex": (qu_ex, "covid", r"[^/]+$", "labels"),
    "qata": (qata, "covid", r"sub-S\d+|covid_\d+", "labels"),
    "findings": (findings, "folder", r"p\d+", ""),
    "folders": (folders, "folder", r"p\d+", "labels"),
    "table": (table, "masks", r"images/.", "labels"),
}
"""Data set to its tree, its command, the patient in an image's path, and what is written beside ``dataset.json``."""
