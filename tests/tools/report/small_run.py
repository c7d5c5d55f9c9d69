"""A pipeline's folder made by hand: four images, their labels, masks, tables and ground truth."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from doll_monai.data.label_files import write_label
from doll_monai.data.label_maps import map_sheet
from doll_monai.data.label_store import COLUMNS
from doll_monai.findings import finding_index
from doll_tools.report.page import write_report

SIZE = 32
OPACITY, EDEMA = finding_index("Lung Opacity"), finding_index("Edema")
SOURCES = ("consensus", "member_0", "member_1", "gradcam")
IMAGES = [f"valid/patient{number}/study1/view1_frontal.png" for number in range(4)]
Row = dict[str, Any]


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def write_json(path: Path, content: Any) -> None:
    write(path, json.dumps(content).encode())


def write_csv(path: Path, header: str, rows: list[Any]) -> None:
    """A table of rows that are dictionaries, sequences, or lines; without a header where that is blank."""
    rows = [row.values() if isinstance(row, dict) else row for row in rows]
    lines = [row if isinstance(row, str) else ",".join(map(str, row)) for row in rows]
    write(path, ("\n".join([header, *lines] if header else lines) + "\n").encode())


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def square() -> np.ndarray:
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[8:20, 4:14] = 1
    return mask


def score(image: str, observation: str, source: str, share: float, iou: float, hit: int = 1) -> Row:
    row = {"image": image, "observation": observation, "source": source}
    return {**row, "share": share, "iou": iou, "hit": hit, "truth_share": 0.1}


def validation_rows() -> list[Row]:
    """28 images of Lung Opacity and 2 of Edema; the consensus is best at 0.2, Edema alone would be at 0.1."""
    rows = []
    for source in SOURCES:
        for share in (0.1, 0.2):
            opacity = 0.6 if share == (0.2 if source == "consensus" else 0.1) else 0.3
            rows += [score(f"o{n}", "Lung Opacity", source, share, opacity) for n in range(28)]
            rows += [score(f"e{n}", "Edema", source, share, 0.9 if share == 0.1 else 0.2) for n in range(2)]
    return rows


def rows_of_test_images() -> list[Row]:
    """One image of Lung Opacity, one of Edema; IoU at the shares 0.1 and 0.2."""
    ious = {
        "consensus": [(0.1, 0.5), (0.3, 0.7)],
        "member_0": [(0.2, 0.0), (0.4, 0.0)],
        "member_1": [(0.1, 0.0), (0.1, 0.0)],
        "gradcam": [(0.3, 0.9), (0.1, 0.9)],
    }
    rows = []
    for source, (opacity, edema) in ious.items():
        for share, first, second in zip((0.1, 0.2), opacity, edema, strict=True):
            rows.append(score(IMAGES[0], "Lung Opacity", source, share, first))
            rows.append(score(IMAGES[1], "Edema", source, share, second, hit=int(source == "consensus")))
    return rows


def make_run(folder: Path) -> Path:
    """A run in a folder, its images beside it; the images of CheXpert are those of the task."""
    run, data = folder / "run", folder / "data"
    raw: list[list[float | None]] = [[None] * 14 for _ in IMAGES]
    for image, (opacity, edema) in zip(raw, [(1, 0), (0, 1), (1, None), (None, -1)], strict=True):
        image[OPACITY], image[EDEMA] = opacity, edema
    label = np.zeros((14, SIZE, SIZE), np.uint8)
    label[OPACITY] = square().T
    for number, image in enumerate(IMAGES):
        save(data / image, np.tile(np.linspace(0, 200 + number, SIZE), (SIZE, 1)))
        write_label((run / "labels" / "labels" / image).with_suffix(".nii.gz"), label)
        write_label((run / "task" / "labels" / image).with_suffix(".nii.gz"), square().T[None])
        stem = Path(image).with_suffix("")
        write_label(run / "lung/adapter/predictions" / f"{stem}_lungs.nii.gz", square().T[None])
    save(data / "truth/0.png", square() * 255)
    write_csv(data / "truth.csv", "Path,finding,mask", [(f"data/{IMAGES[0]}", "Lung Opacity", "truth/0.png")])
    write_json(data / "phantom.json", {})
    records = [{"image": image, "label": labels} for image, labels in zip(IMAGES, raw, strict=True)]
    write_json(run / "chexpert/dataset.json", {"test": records})
    label_files = [{"image": image, "label": f"labels/{image[:-4]}.nii.gz"} for image in IMAGES]
    write_json(run / "labels/dataset.json", {"test": label_files})
    write_json(run / "task/dataset.json", {"test": label_files})
    quality = zip(IMAGES, (0.1, 0.2, 0.4, 0.9), (0.8, 0.6, 0.4, 0.2), strict=True)
    rows = [(image, "Lung Opacity", 0.8, error, 20, 0.12, agreement) for image, error, agreement in quality]
    write_csv(run / "labels/labels.csv", ",".join(COLUMNS), rows)
    maps = map_sheet(np.stack([square().T, 1 - square().T])[:, np.newaxis], ["Lung Opacity"])
    for image in IMAGES[:2]:
        write(run / "labels/maps" / image, maps)
    metrics = [("auroc", 0.75), ("auroc_observations", 2), ("auroc_Lung_Opacity", 1.0), ("auroc_Edema", 0.5)]
    write_csv(run / "classifier/metrics.csv", "", [*metrics, ("val_loss", "nan")])
    predictions = [[data / image, *[0.1] * 14] for image in IMAGES]
    for row, probability in zip(predictions, (0.9, 0.2, 0.8, 0.1), strict=True):
        row[1 + OPACITY] = probability
    write_csv(run / "classifier/predictions.csv", "", predictions)
    for part, scores in (("validation", validation_rows()), ("test", rows_of_test_images())):
        write_csv(run / "localization" / part / "localization.csv", ",".join(scores[0]), scores)
    for network, dice, iou in (("adapter", 0.95, 0.905), ("scratch", 0.9, "nan")):
        write_csv(run / f"lung/{network}/evaluation/metrics.csv", "", [("dice", dice), ("iou", iou)])
        raw_rows = [(data / image, value, value) for image, value in zip(IMAGES, (0.9, 0.97, 0.96, "nan"), strict=True)]
        write_csv(run / f"lung/{network}/evaluation/dice_raw.csv", "filename,class0,mean", raw_rows)
    seconds = {"train_resnet10": 61.25, "labels": 2.5, "generate_labels": None}
    stages = [{"name": name, "command": f"run <a> {name}", "seconds": time} for name, time in seconds.items()]
    pipeline = {"preset": "demo", "chexpert": str(data), "task": "lung", "task_data": str(data), "stages": stages}
    write_json(run / "pipeline.json", {**pipeline, "members": ["resnet10", "densenet"], "image_size": [SIZE, SIZE]})
    return run


def write_many_images(run: Path, count: int) -> Path:
    """Replace the run's labeled images by many: 320 pixels with noise, two observations, three members."""
    generator, data, size = np.random.default_rng(0), run.parent / "data", 160
    names = [f"train/patient{number:05d}/study1/view1_frontal" for number in range(count)]
    places = ((data, "jpg"), (run / "labels/labels", "nii.gz"), (run / "labels/maps", "png"))
    files = [folder / f"{names[0]}.{suffix}" for folder, suffix in places]
    noise = generator.normal(0, 4, (320, 320)) + 60 * _blurred(generator, 320, 40) + 120
    save(files[0], noise.clip(0, 255))
    label = np.zeros((14, size, size), np.uint8)
    for channel in (OPACITY, EDEMA):
        evidence = _blurred(generator, size, 12)
        label[channel] = np.select([evidence > 1.3, evidence > 1], [1, 255])
    write_label(files[1], label)
    maps = np.abs([[_blurred(generator, 64, 5) for _ in range(2)] for _ in range(3)])
    write(files[2], map_sheet(maps.astype(np.float32), ["Lung Opacity", "Edema"]))
    save(data / "truth/many.png", _blurred(generator, 320, 20) * 255 > 255)
    for name in names[1:]:
        for (folder, suffix), file in zip(places, files, strict=True):
            write(folder / f"{name}.{suffix}", file.read_bytes())
    pairs = [(f"{name}.jpg", observation) for name in names for observation in ("Lung Opacity", "Edema")]
    figures = generator.random((len(pairs), 3)).round(4)
    rows = [(*pair, first, second, 34, 0.1, third) for pair, (first, second, third) in zip(pairs, figures, strict=True)]
    write_csv(run / "labels/labels.csv", ",".join(COLUMNS), rows)
    records = [{"image": f"{name}.jpg", "label": f"labels/{name}.nii.gz"} for name in names]
    write_json(run / "labels/dataset.json", {"training": records})
    write_csv(data / "truth.csv", "Path,finding,mask", [(*pair, "truth/many.png") for pair in pairs])
    write_json(run / "pipeline.json", json.loads((run / "pipeline.json").read_text()) | {"members": ["a", "b", "c"]})
    return run


def _blurred(generator: np.random.Generator, size: int, sigma: float) -> np.ndarray:
    """Smooth noise, (size, size), of mean about 0 and standard deviation 1."""
    values: np.ndarray = gaussian_filter(generator.normal(size=(size, size)), sigma, mode="wrap")
    return values / values.std()


def add_comparison(folder: Path, task: str) -> None:
    """A comparison of two initializations with one and with five images; the second is better by 0.05 and by 0.01."""
    settings = {"task": task, "iterations": 20, "batch_size": 5, "images": {"training": 9, "validation": 4, "test": 9}}
    write_json(folder / "settings.json", settings)
    ends = ",".join(f"{name}{end}" for name in ("iou", "dice", "hd95") for end in ("", "_low", "_high"))
    summary, curves = [], []
    for init, iou in (("scratch", 0.75), ("doll", 0.8)):
        for shots in (1, 5):
            values = [round(iou + change, 3) for change in (0, -0.1, 0.1)] * 3
            summary.append(("test", shots, init, "full", "all", 2, 9, *values))
            curves += [(init, "full", shots, seed, 10 * n, n * iou / 2, 0.5) for seed in range(2) for n in (1, 2)]
            cell = folder / "cells" / f"{init}_full_shots{shots}_seed0"
            save(cell / "scores" / "overlays.png", np.full((30, 90), 200))
            record = {"initialization": init, "tuning": "full", "shots": shots, "seed": 0}
            write_json(cell / "cell.json", {**record, "command": f"python -m monai.bundle run {init}_full"})
    write_csv(folder / "summary.csv", f"split,shots,initialization,tuning,class,seeds,images,{ends}", summary)
    pair = ("test", "doll/full", "scratch/full", "", 2, 9, "all")
    differences = [(*pair, 1, *[0.05, 0.01, 0.09] * 3), (*pair, 5, *[0.01, -0.03, 0.05] * 3)]
    write_csv(folder / "differences.csv", f"split,first,second,chosen,seeds,images,class,shots,{ends}", differences)
    write_csv(folder / "curves.csv", "initialization,tuning,shots,seed,iteration,iou,dice", curves)


def page_text(run: Path) -> str:
    """The page without its pictures, whose letters are arbitrary."""
    page = write_report(run, run / "report.html").read_text()
    return re.sub(r"data:image/jpeg;base64,[\w+/=]+", "data:", page)
