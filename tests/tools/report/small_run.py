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


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def write_csv(path: Path, header: str, rows: list[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [",".join(map(str, row.values() if isinstance(row, dict) else row)) for row in rows]
    path.write_text("\n".join([header, *lines] if header else lines) + "\n")


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def square() -> np.ndarray:
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[8:20, 4:14] = 1
    return mask


def score(image: str, observation: str, source: str, share: float, iou: float, hit: int = 1, truth: float = 0.1) -> Row:
    values = (image, observation, source, share, iou, hit, truth)
    return dict(zip(("image", "observation", "source", "share", "iou", "hit", "truth_share"), values, strict=True))


def validation_rows() -> list[Row]:
    """28 images of Lung Opacity and 2 of Edema; the consensus is best at 0.2, Edema alone would be at 0.1."""
    rows = []
    for source in SOURCES:
        best = 0.2 if source == "consensus" else 0.1
        for number in range(28):
            rows += [score(f"o{number}", "Lung Opacity", source, s, 0.6 if s == best else 0.3) for s in (0.1, 0.2)]
        for number in range(2):
            rows += [score(f"e{number}", "Edema", source, s, 0.9 if s == 0.1 else 0.2) for s in (0.1, 0.2)]
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
            rows.append(score(IMAGES[0], "Lung Opacity", source, share, first, hit=1, truth=0.2))
            rows.append(score(IMAGES[1], "Edema", source, share, second, hit=int(source == "consensus"), truth=0.05))
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
    write_csv(data / "index.csv", "id,image", [])
    (data / "phantom.json").write_text("{}")
    records = [{"image": image, "label": labels} for image, labels in zip(IMAGES, raw, strict=True)]
    write_json(run / "chexpert/dataset.json", {"test": records})
    label_files = [{"image": image, "label": f"labels/{image[:-4]}.nii.gz"} for image in IMAGES]
    write_json(run / "labels/dataset.json", {"test": label_files})
    write_json(run / "task/dataset.json", {"test": label_files})
    rows = [
        (image, "Lung Opacity", 0.8, error, 20, 0.12, agreement)
        for image, error, agreement in zip(IMAGES, (0.1, 0.2, 0.4, 0.9), (0.8, 0.6, 0.4, 0.2), strict=True)
    ]
    write_csv(run / "labels/labels.csv", ",".join(COLUMNS), rows)
    for image in IMAGES[:2]:
        path = (run / "labels" / "maps" / image).with_suffix(".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(map_sheet(np.stack([square().T, 1 - square().T])[:, np.newaxis], ["Lung Opacity"]))
    metrics = [("auroc", 0.75), ("auroc_observations", 2), ("auroc_Lung_Opacity", 1.0), ("auroc_Edema", 0.5)]
    write_csv(run / "classifier/metrics.csv", "", [*metrics, ("val_loss", "nan")])
    scores = [[0.9, *[0.1] * 13], [0.2, *[0.1] * 13], [0.8, *[0.1] * 13], [0.1] * 14]
    predictions = [
        [data / image, *[0.1] * OPACITY, *row[: 14 - OPACITY]] for image, row in zip(IMAGES, scores, strict=True)
    ]
    write_csv(run / "classifier/predictions.csv", "", predictions)
    write_csv(run / "localization/validation/localization.csv", ",".join(rows_of_test_images()[0]), validation_rows())
    write_csv(run / "localization/test/localization.csv", ",".join(rows_of_test_images()[0]), rows_of_test_images())
    for network, dice, iou in (("adapter", 0.95, 0.905), ("scratch", 0.9, "nan")):
        write_csv(run / f"lung/{network}/evaluation/metrics.csv", "", [("dice", dice), ("iou", iou)])
        raw_rows = [(data / image, value, value) for image, value in zip(IMAGES, (0.9, 0.97, 0.96, "nan"), strict=True)]
        write_csv(run / f"lung/{network}/evaluation/dice_raw.csv", "filename,class0,mean", raw_rows)
    stages = [
        {"name": "train_resnet10", "command": "python -m monai.bundle run <a>", "seconds": 61.25, "run_id": None},
        {"name": "labels", "command": "python -m monai.bundle run b", "seconds": 2.5, "run_id": None},
        {"name": "generate_labels", "command": "python -m monai.bundle run c", "seconds": None, "run_id": None},
    ]
    pipeline = {"preset": "demo", "chexpert": str(data), "task": "lung", "task_data": str(data), "stages": stages}
    write_json(run / "pipeline.json", {**pipeline, "members": ["resnet10", "densenet"], "image_size": [SIZE, SIZE]})
    return run


def write_many_images(run: Path, count: int, kinds: int = 10) -> Path:
    """Replace the run's labeled images by many: 320 pixels with noise, two observations, three members."""
    generator, data, size = np.random.default_rng(0), run.parent / "data", 160
    rows, records, truth = [], [], []
    for number in range(count):
        name, kind = f"train/patient{number:05d}/study1/view1_frontal.jpg", number % kinds
        places = [
            (run.parent / "data", name, ".jpg"),
            (run / "labels" / "labels", name, ".nii.gz"),
            (run / "labels" / "maps", name, ".png"),
        ]
        files = [(folder / path).with_suffix(suffix) for folder, path, suffix in places]
        if number < kinds:
            noise = generator.normal(0, 4, (320, 320)) + 60 * _blurred(generator, 320, 40) + 120
            save(files[0], noise.clip(0, 255))
            label = np.zeros((14, size, size), np.uint8)
            for channel in (OPACITY, EDEMA):
                evidence = _blurred(generator, size, 12)
                label[channel] = np.select([evidence > 1.3, evidence > 1], [1, 255])
            write_label(files[1], label)
            maps = np.abs([[_blurred(generator, 64, 5) for _ in range(2)] for _ in range(3)])
            files[2].parent.mkdir(parents=True, exist_ok=True)
            files[2].write_bytes(map_sheet(maps.astype(np.float32), ["Lung Opacity", "Edema"]))
            save(data / f"truth/many{kind}.png", _blurred(generator, 320, 20) * 255 > 255)
        else:
            for file in files:
                file.parent.mkdir(parents=True, exist_ok=True)
                first = Path(str(file).replace(f"patient{number:05d}", f"patient{kind:05d}"))
                file.write_bytes(first.read_bytes())
        for observation in ("Lung Opacity", "Edema"):
            figures = generator.random(4).round(4)
            rows.append((name, observation, figures[0], figures[1], 34, 0.1, figures[3]))
            truth.append((name, observation, f"truth/many{kind}.png"))
        records.append({"image": name, "label": f"labels/{name[:-4]}.nii.gz"})
    write_csv(run / "labels/labels.csv", ",".join(COLUMNS), rows)
    write_json(run / "labels/dataset.json", {"training": records})
    write_csv(data / "truth.csv", "Path,finding,mask", truth)
    write_json(run / "pipeline.json", json.loads((run / "pipeline.json").read_text()) | {"members": ["a", "b", "c"]})
    return run


def _blurred(generator: np.random.Generator, size: int, sigma: float) -> np.ndarray:
    """Smooth noise, (size, size), of mean about 0 and standard deviation 1."""
    values = gaussian_filter(generator.normal(size=(size, size)), sigma, mode="wrap")
    normal: np.ndarray = values / values.std()
    return normal


def add_comparison(folder: Path, task: str) -> None:
    """A comparison of two initializations with one and with five images; the second is better by 0.05 and by 0.01."""
    settings = {"task": task, "iterations": 20, "batch_size": 5, "images": {"training": 9, "validation": 4, "test": 9}}
    write_json(folder / "settings.json", settings)
    ends = [f"{name}{end}" for name in ("iou", "dice", "hd95") for end in ("", "_low", "_high")]
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
    pair = ("test", "doll/full", "scratch/full", "", 2, 9, "all")
    differences = [(*pair, 1, *[0.05, 0.01, 0.09] * 3), (*pair, 5, *[0.01, -0.03, 0.05] * 3)]
    write_csv(
        folder / "summary.csv", ",".join(["split,shots,initialization,tuning,class,seeds,images", *ends]), summary
    )
    header = ",".join(["split,first,second,chosen,seeds,images,class,shots", *ends])
    write_csv(folder / "differences.csv", header, differences)
    write_csv(folder / "curves.csv", "initialization,tuning,shots,seed,iteration,iou,dice", curves)


def page_text(run: Path) -> str:
    """The page without its pictures, whose letters are arbitrary."""
    page = write_report(run, run / "report.html").read_text()
    return re.sub(r"data:image/jpeg;base64,[\w+/=]+", "data:", page)
