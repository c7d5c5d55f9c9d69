from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from PIL import Image

from doll_monai.data import write_label
from doll_monai.errors import InputError
from doll_monai.findings import finding_index
from doll_monai.report import summarise, write_report, write_summary
from doll_monai.report.figures import roc_points
from doll_monai.report.localisation import choose_shares, localisation_summary
from doll_monai.report.pictures import read_film, read_mask, tint
from doll_monai.report.run_folder import RunFolder

SIZE = 32
OPACITY, EDEMA = finding_index("Lung Opacity"), finding_index("Edema")
SOURCES = ("consensus", "member_0", "member_1", "gradcam")
FILMS = [f"valid/patient{number}/study1/view1_frontal.png" for number in range(4)]
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
    """28 films of Lung Opacity and 2 of Edema; the consensus is best at 0.2, Edema alone would be at 0.1."""
    rows = []
    for source in SOURCES:
        best = 0.2 if source == "consensus" else 0.1
        for number in range(28):
            rows += [score(f"o{number}", "Lung Opacity", source, s, 0.6 if s == best else 0.3) for s in (0.1, 0.2)]
        for number in range(2):
            rows += [score(f"e{number}", "Edema", source, s, 0.9 if s == 0.1 else 0.2) for s in (0.1, 0.2)]
    return rows


def test_rows() -> list[Row]:
    """One film of Lung Opacity, one of Edema; IoU at the shares 0.1 and 0.2."""
    ious = {
        "consensus": [(0.1, 0.5), (0.3, 0.7)],
        "member_0": [(0.2, 0.0), (0.4, 0.0)],
        "member_1": [(0.1, 0.0), (0.1, 0.0)],
        "gradcam": [(0.3, 0.9), (0.1, 0.9)],
    }
    rows = []
    for source, (opacity, edema) in ious.items():
        for share, first, second in zip((0.1, 0.2), opacity, edema, strict=True):
            rows.append(score(FILMS[0], "Lung Opacity", source, share, first, hit=1, truth=0.2))
            rows.append(score(FILMS[1], "Edema", source, share, second, hit=int(source == "consensus"), truth=0.05))
    return rows


test_rows.__test__ = False  # type: ignore[attr-defined]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of four films, their labels and masks; the films of CheXpert are those of the task."""
    run, data = tmp_path / "run", tmp_path / "data"
    raw: list[list[float | None]] = [[None] * 14 for _ in FILMS]
    for film, (opacity, edema) in zip(raw, [(1, 0), (0, 1), (1, None), (None, -1)], strict=True):
        film[OPACITY], film[EDEMA] = opacity, edema
    label = np.zeros((14, SIZE, SIZE), np.uint8)
    label[OPACITY] = square().T
    for number, film in enumerate(FILMS):
        save(data / film, np.tile(np.linspace(0, 200 + number, SIZE), (SIZE, 1)))
        write_label((run / "labels" / "labels" / film).with_suffix(".nii.gz"), label)
        write_label((run / "task" / "labels" / film).with_suffix(".nii.gz"), square().T[None])
        stem = Path(film).with_suffix("")
        write_label(run / "lung/adapter/predictions" / f"{stem}_lungs.nii.gz", square().T[None])
    save(data / "truth/0.png", square() * 255)
    write_csv(data / "truth.csv", "Path,finding,mask", [(f"data/{FILMS[0]}", "Lung Opacity", "truth/0.png")])
    write_csv(data / "index.csv", "id,image", [])
    (data / "phantom.json").write_text("{}")
    records = [{"image": film, "label": labels} for film, labels in zip(FILMS, raw, strict=True)]
    write_json(run / "chexpert/dataset.json", {"test": records})
    label_files = [{"image": film, "label": f"labels/{film[:-4]}.nii.gz"} for film in FILMS]
    write_json(run / "labels/dataset.json", {"test": label_files})
    write_json(run / "task/dataset.json", {"test": label_files})
    rows = [
        (film, "Lung Opacity", 0.8, error, 20, 0.12) for film, error in zip(FILMS, (0.1, 0.2, 0.4, 0.9), strict=True)
    ]
    write_csv(
        run / "labels/labels.csv", "image,observation,probability,completeness_error,n_steps,foreground_share", rows
    )
    metrics = [("auroc", 0.75), ("auroc_observations", 2), ("auroc_Lung_Opacity", 1.0), ("auroc_Edema", 0.5)]
    write_csv(run / "classifier/metrics.csv", "", [*metrics, ("val_loss", "nan")])
    scores = [[0.9, *[0.1] * 13], [0.2, *[0.1] * 13], [0.8, *[0.1] * 13], [0.1] * 14]
    predictions = [
        [data / film, *[0.1] * OPACITY, *row[: 14 - OPACITY]] for film, row in zip(FILMS, scores, strict=True)
    ]
    write_csv(run / "classifier/predictions.csv", "", predictions)
    write_csv(run / "localisation/validation/localisation.csv", ",".join(test_rows()[0]), validation_rows())
    write_csv(run / "localisation/test/localisation.csv", ",".join(test_rows()[0]), test_rows())
    for start, dice, iou in (("adapter", 0.95, 0.905), ("scratch", 0.9, "nan")):
        write_csv(run / f"lung/{start}/evaluation/metrics.csv", "", [("dice", dice), ("iou", iou)])
        raw_rows = [(data / film, value, value) for film, value in zip(FILMS, (0.9, 0.97, 0.96, "nan"), strict=True)]
        write_csv(run / f"lung/{start}/evaluation/dice_raw.csv", "filename,class0,mean", raw_rows)
    stages = [
        {"name": "train_resnet10", "command": "python -m monai.bundle run <a>", "seconds": 61.25, "run_id": None},
        {"name": "labels", "command": "python -m monai.bundle run b", "seconds": 2.5, "run_id": None},
    ]
    pipeline = {"preset": "demo", "chexpert": str(data), "task": "lung", "task_data": str(data), "stages": stages}
    write_json(run / "pipeline.json", {**pipeline, "members": ["resnet10", "densenet"], "image_size": [SIZE, SIZE]})
    return run


def page_text(run: Path) -> str:
    """The page without its pictures, whose letters are arbitrary."""
    page = write_report(run, run / "report.html").read_text()
    return re.sub(r"data:image/jpeg;base64,[\w+/=]+", "data:", page)


def test_the_summary_has_the_figures_of_the_tables(run: Path) -> None:
    summary = json.loads(write_summary(run).read_text())
    auroc = {"Lung Opacity": 1.0, "Edema": 0.5}
    assert summary["classifier"] == {"mean_auroc": 0.75, "auroc": auroc, "observations": 2}
    assert summary["labels"]["count"] == 4
    assert summary["labels"]["completeness_error_median"] == pytest.approx(0.3)
    assert summary["lung"] == {
        "dice_adapter": 0.95,
        "iou_adapter": 0.905,
        "dice_scratch": 0.9,
        "iou_scratch": None,
        "films": 4,
    }
    assert summary["seconds"] == {"train_resnet10": 61.25, "labels": 2.5}
    assert summary["seconds_total"] == pytest.approx(63.8, abs=0.06)


def test_films_without_a_label_are_counted(run: Path) -> None:
    (run / "labels" / "labels" / FILMS[0]).with_suffix(".nii.gz").unlink()
    write_csv(run / "labels/failures.csv", "image,reason", [f"{FILMS[0]},The film cannot be read."])
    assert summarise(run)["labels"]["unreadable"] == 1
    write_report(run, run / "report.html")
    page = (run / "report.html").read_text()
    assert "Films without a label" in page
    assert "labels/failures.csv" in page


def test_each_source_takes_its_own_share_from_validation_films(run: Path) -> None:
    """Edema has two validation films, so it takes the source's pooled share: 0.2 for the consensus, 0.1 for others."""
    labels = summarise(run)["labels"]
    assert labels["threshold"] == "validation"
    assert labels["pairs"] == 2
    assert labels["iou_consensus"] == pytest.approx((0.5 + 0.7) / 2)
    assert labels["iou_members"] == {"member_0": pytest.approx(0.3), "member_1": pytest.approx(0.1)}
    assert labels["iou_single"] == pytest.approx(0.2)
    assert labels["iou_gradcam"] == pytest.approx(0.2)
    assert labels["iou_consensus_default_share"] == pytest.approx(0.2)
    assert labels["iou_chance"] == pytest.approx((0.04 / 0.36 + 0.01 / 0.24) / 2)
    assert (labels["hit_consensus"], labels["hit_single"], labels["hit_gradcam"]) == (1.0, 0.5, 0.5)
    assert labels["hit_chance"] == pytest.approx(0.125)
    assert labels["by_observation"]["Edema"] == {
        "consensus": pytest.approx(0.7),
        "gradcam": pytest.approx(0.1),
        "pairs": 1,
    }


def test_an_observation_with_five_validation_films_takes_its_own_share(run: Path) -> None:
    path = run / "localisation/validation/localisation.csv"
    more = [score(f"m{n}", "Edema", "consensus", s, 0.9 if s == 0.1 else 0.2) for n in range(3) for s in (0.1, 0.2)]
    write_csv(path, ",".join(more[0]), [*validation_rows(), *more])
    validation = RunFolder(run).table("localisation/validation/localisation.csv")
    assert validation is not None
    assert choose_shares(validation)["consensus"] == {"": 0.2, "Lung Opacity": 0.2, "Edema": 0.1}
    assert summarise(run)["labels"]["iou_consensus"] == pytest.approx((0.5 + 0.3) / 2)


@pytest.mark.parametrize("films", [0, 26])
def test_too_few_validation_pairs_give_the_default_share(run: Path, films: int) -> None:
    rows = [row for row in validation_rows() if row["image"][0] == "o" and int(row["image"][1:]) < films]
    write_csv(run / "localisation/validation/localisation.csv", ",".join(validation_rows()[0]), rows)
    labels = summarise(run)["labels"]
    assert labels["threshold"] == "default"
    assert labels["iou_consensus"] == labels["iou_consensus_default_share"] == pytest.approx(0.2)


def test_a_source_that_was_not_scored_is_left_out(run: Path) -> None:
    test = RunFolder(run).table("localisation/test/localisation.csv")
    assert test is not None
    figures = localisation_summary(test[test["source"] == "consensus"], None)
    assert not {"iou_gradcam", "iou_single", "iou_members"} & set(figures)
    assert "gradcam" not in figures["by_observation"]["Edema"]


def test_roc_points_treat_equal_scores_as_one_threshold() -> None:
    false, true = roc_points(np.array([0.9, 0.5, 0.5, 0.1]), np.array([True, True, False, False]))
    assert false.tolist() == [0, 0, 0.5, 1]
    assert true.tolist() == [0, 0.5, 1, 1]


def test_the_page_shows_the_key_figures_and_needs_nothing_else(run: Path) -> None:
    page = page_text(run)
    for figure in ("0.750", "0.600", "0.950", "from scratch 0.900", "1 min 4 s", "say nothing about patients"):
        assert figure in page
    assert "run &lt;a&gt;" in page
    assert not re.search(
        r"\b(nan|none|undefined)\b(?!;)", re.sub(r"<style>.*?</style>|<svg.*?</svg>", "", page, flags=re.S), re.I
    )
    assert not re.search(r'(src|href)="(?!data:|#)|url\((?!#)|@import|<script|<link', page)


def test_the_page_has_pictures_and_curves_with_alternative_texts(run: Path) -> None:
    page = page_text(run)
    assert page.count("<img") == page.count('<img src="data:" alt="')
    assert page.count('alt="Radiograph') == 4
    assert page.count("true Lung Opacity outlined") == 1
    assert [f"Dice {dice}" in page for dice in ("0.970", "0.960", "0.900")] == [True] * 3
    assert "AUROC 1.000; 2 of 4 films" in page
    assert "AUROC 0.500; 1 of 3 films" in page
    assert "#0102" not in page
    assert "var(--accent)" in re.findall(r"<svg.*?</svg>", page, re.DOTALL)[0]
    assert page.count("<svg") == page.count('<svg role="img" aria-label="')


def test_the_overlay_lies_where_the_label_is(run: Path) -> None:
    film = read_film(run.parent / "data" / FILMS[0])
    label = read_mask((run / "labels/labels" / FILMS[0]).with_suffix(".nii.gz"), OPACITY)
    assert film is not None
    assert label is not None
    assert (label == square()).all()
    row, column = np.nonzero((tint(film, label) != film).any(axis=-1))
    scale = film.shape[0] / SIZE
    assert abs(row.min() - 8 * scale) <= 2
    assert abs(row.max() - 20 * scale) <= 2
    assert abs(column.min() - 4 * scale) <= 2
    assert abs(column.max() - 14 * scale) <= 2


def test_the_same_run_gives_the_same_page(run: Path) -> None:
    assert page_text(run) == page_text(run)


def test_training_curves_come_from_mlflow(run: Path) -> None:
    uri = f"sqlite:///{run / 'mlruns.db'}"
    client = mlflow.MlflowClient(uri)
    run_id = client.create_run(client.create_experiment("e", artifact_location=str(run / "artifacts"))).info.run_id
    for step in range(3):
        client.log_metric(run_id, "train_loss", 0.7 - 0.1 * step, step=step)
        client.log_metric(run_id, "auroc", 0.5 + 0.1 * step, step=step)
    pipeline = json.loads((run / "pipeline.json").read_text())
    pipeline["mlflow"] = uri
    pipeline["stages"][0]["run_id"], pipeline["stages"][1]["run_id"] = run_id, "0" * 32
    write_json(run / "pipeline.json", pipeline)
    page = page_text(run)
    assert "Train resnet10: training loss" in page
    assert "0.500 to 0.700" in page
    assert "Labels: training loss" not in page


def test_missing_parts_are_left_out_with_a_sentence(tmp_path: Path) -> None:
    write_json(tmp_path / "pipeline.json", {})
    assert summarise(tmp_path) == {"seconds": {}, "seconds_total": 0}
    page = page_text(tmp_path)
    for sentence in ("not evaluated in this run", "not compared with known places", "no training curves"):
        assert sentence in page
    assert "say nothing about patients" not in page


@pytest.mark.parametrize("part", ["classifier", "labels", "localisation", "task", "lung", "chexpert", "../data"])
def test_any_part_may_be_missing(run: Path, part: str) -> None:
    (run / part).resolve().rename(run.parent / "elsewhere")
    assert "Key figures" in page_text(run)


def test_a_table_without_its_columns_is_explained(run: Path) -> None:
    write_csv(run / "localisation/test/localisation.csv", "image,iou", [("a", 0.5)])
    with pytest.raises(InputError, match="has no column observation"):
        summarise(run)


def test_a_folder_that_is_no_run_ends_with_a_sentence(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "doll_monai.report", "--run", str(tmp_path), "--output", str(tmp_path / "r.html")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "has no pipeline.json" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "r.html").exists()
