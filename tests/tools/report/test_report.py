"""The summary and the page of a run: their figures are those of its tables, and any part may be missing."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import mlflow
import numpy as np
import pytest
from small_run import (
    IMAGES,
    OPACITY,
    SIZE,
    add_comparison,
    make_run,
    page_text,
    save,
    score,
    square,
    validation_rows,
    write_csv,
    write_json,
)

from doll_monai.transforms.reading import read_picture
from doll_monai.utils.errors import InputError
from doll_tools.cli import main
from doll_tools.report.drawing import read_mask, tint
from doll_tools.report.page import report, write_report
from doll_tools.report.pictures import task_rows
from doll_tools.report.run_folder import RunFolder
from doll_tools.report.summary import summarize, write_summary


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A small run with a comparison, and its page."""
    run = make_run(tmp_path_factory.mktemp("compared"))
    add_comparison(run / "comparisons" / "lung", "lung")
    return run, page_text(run)


def _labels(run: Path) -> dict:
    return summarize(RunFolder(run))["labels"]


def test_the_summary_has_the_figures_of_the_tables(run: Path) -> None:
    write_csv(run / "labels/failures.csv", "image,reason", [f"{IMAGES[0]},The image cannot be read."])
    summary = json.loads(write_summary(run).read_text())
    auroc = {"Lung Opacity": 1.0, "Edema": 0.5}
    assert summary["classifier"] == {"mean_auroc": 0.75, "auroc": auroc, "observations": 2}
    assert (summary["labels"]["count"], summary["labels"]["unreadable"]) == (4, 1)
    assert summary["labels"]["completeness_error_median"] == pytest.approx(0.3)
    task = {"dice_adapter": 0.95, "iou_adapter": 0.905, "dice_scratch": 0.9, "iou_scratch": None, "images": 4}
    assert summary["lung"] == task
    assert summary["seconds"] == {"train_resnet10": 61.25, "labels": 2.5, "generate_labels": None}
    assert summary["seconds_total"] == pytest.approx(63.8, abs=0.06)
    assert "labels/failures.csv" in page_text(run)


def test_each_source_takes_its_own_share_from_validation_images(run: Path) -> None:
    """Edema has two validation images, so it takes the source's pooled share: 0.2 for the consensus, 0.1 for others."""
    labels = _labels(run)
    assert labels["threshold"] == "validation"
    assert labels["pairs"] == 2
    assert labels["iou_consensus"] == pytest.approx((0.5 + 0.7) / 2)
    assert labels["iou_members"] == {"member_0": pytest.approx(0.3), "member_1": pytest.approx(0.1)}
    assert labels["iou_single"] == pytest.approx(0.2)
    assert labels["iou_gradcam"] == pytest.approx(0.2)
    assert labels["iou_consensus_default_share"] == pytest.approx(0.2)
    assert (labels["hit_consensus"], labels["hit_single"], labels["hit_gradcam"]) == (1.0, 0.5, 0.5)
    edema = {"consensus": pytest.approx(0.7), "gradcam": pytest.approx(0.1), "pairs": 1}
    assert labels["by_observation"]["Edema"] == edema


def test_an_observation_with_five_validation_images_takes_its_own_share(run: Path) -> None:
    more = [score(f"m{n}", "Edema", "consensus", s, 0.9 if s == 0.1 else 0.2) for n in range(3) for s in (0.1, 0.2)]
    write_csv(run / "localization/validation/localization.csv", ",".join(more[0]), [*validation_rows(), *more])
    assert _labels(run)["iou_consensus"] == pytest.approx((0.5 + 0.3) / 2)


@pytest.mark.parametrize("images", [0, 26])
def test_too_few_validation_pairs_give_the_default_share(run: Path, images: int) -> None:
    rows = [row for row in validation_rows() if row["image"][0] == "o" and int(row["image"][1:]) < images]
    write_csv(run / "localization/validation/localization.csv", ",".join(validation_rows()[0]), rows)
    labels = _labels(run)
    assert labels["threshold"] == "default"
    assert labels["iou_consensus"] == labels["iou_consensus_default_share"] == pytest.approx(0.2)


def test_the_page_shows_the_key_figures_and_needs_nothing_else(compared: tuple[Path, str]) -> None:
    run, page = compared
    for figure in ("0.750", "0.600", "0.950", "from scratch 0.900", "64 s", "say nothing about patients"):
        assert figure in page
    digits = hashlib.sha256((run / "chexpert/dataset.json").read_bytes()).hexdigest()
    for text in ("run &lt;a&gt;", f"4 test; SHA-256 {digits}", f"doll report --run {run}"):
        assert text in page
    words = re.sub(r"<style>.*?</style>|<svg.*?</svg>|<script.*?</script>|<meta[^>]*>", "", page, flags=re.S)
    assert not re.search(r"\b(nan|none|undefined)\b(?!;)", words, re.I)
    assert not re.search(r'(src|href)="(?!data:|#)|url\((?!#)|@import|<link|https?:(?!//www.w3.org/)|fetch\(', page)
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'" in page
    assert page_text(run) == page


def test_the_page_has_pictures_and_curves_with_alternative_texts(run: Path) -> None:
    page = page_text(run)
    assert page.count("<img") == page.count('<img src="data:" alt="')
    assert page.count('alt="Radiograph') == 4 + 3
    assert page.count("with predicted outline and ground truth") == 3
    assert page.count("ground truth of Lung Opacity outlined") == 1
    assert [f"Dice {dice}" in page for dice in ("0.970", "0.960", "0.900")] == [True] * 3
    assert "AUROC 1.000; 2 of 4 images" in page
    assert "AUROC 0.500; 1 of 3 images" in page
    assert "Histogram of completeness error: median 0.300, half of the 4 pairs from 0.175 to 0.525" in page
    assert "Agreement of the members by observation, medians: Lung Opacity 0.500" in page
    assert "#0102" not in page
    assert "var(--accent)" in re.findall(r"<svg.*?</svg>", page, re.DOTALL)[0]
    assert page.count("<svg") == page.count('<svg role="img" aria-label="')


def test_the_overlay_lies_where_the_label_is(run: Path) -> None:
    image = read_picture(run.parent / "data" / IMAGES[0])
    label = read_mask((run / "labels/labels" / IMAGES[0]).with_suffix(".nii.gz"), OPACITY)
    assert image is not None
    assert label is not None
    assert (label == square()).all()
    row, column = np.nonzero((tint(image, label) != image).any(axis=-1))
    drawn = np.array([row.min(), row.max(), column.min(), column.max()])
    assert np.abs(drawn - np.array([8, 20, 4, 14]) * image.shape[0] / SIZE).max() <= 2


def test_the_overlay_beside_a_prediction_is_not_taken_for_the_mask(run: Path) -> None:
    captions = [row.caption for row in task_rows(RunFolder(run))]
    for image in IMAGES:
        stem = run / "lung/adapter/predictions" / Path(image).with_suffix("")
        save(stem.with_name(f"{stem.name}_overlay.png"), np.full((SIZE, SIZE), 255))
    assert len(captions) == 3
    assert [row.caption for row in task_rows(RunFolder(run))] == captions


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


def test_comparisons_in_the_run_are_shown_with_intervals_and_curves(compared: tuple[Path, str]) -> None:
    _, page = compared
    for text in ("0.800 [0.700, 0.900]", "+0.050 [+0.010, +0.090]", "doll/full \N{MINUS SIGN} scratch/full", "2 seeds"):
        assert text in page
    assert 'class="n clear">+0.050' in page
    assert 'class="n">+0.010 [-0.030, +0.050]' in page
    assert "IoU on valid images by iteration, 5 annotated images" in page
    assert page.count("doll/full, 5 annotated images, seed 0") == 2
    assert "monai.bundle run doll_full" in page


def test_comparisons_elsewhere_are_named(run: Path, tmp_path: Path) -> None:
    for task in ("heart", "infection"):
        add_comparison(tmp_path / "elsewhere" / task, task)
    for place, shown in (("elsewhere", (True, True)), ("elsewhere/heart", (True, False))):
        page = write_report(run, tmp_path / "page.html", tmp_path / place).read_text()
        assert ("Heart: validation IoU" in page, "Infection: validation IoU" in page) == shown
    with pytest.raises(InputError, match="holds no finished comparison"):
        write_report(run, tmp_path / "c.html", tmp_path)
    assert not (tmp_path / "c.html").exists()


def test_damaged_pictures_are_left_out(run: Path) -> None:
    add_comparison(run / "comparisons" / "lung", "lung")
    maps = sorted((run / "labels/maps").rglob("*.png"))[0]
    maps.write_bytes(maps.read_bytes()[:60])
    (run / "comparisons/lung/cells/doll_full_shots5_seed0/scores/overlays.png").write_bytes(b"no picture")
    page = page_text(run)
    assert page.count('"rows":["Lung Opacity"]') == 1
    assert page.count("doll/full, 5 annotated images, seed 0") == 0


@pytest.mark.parametrize("images", [-1, 2.5, "many"])
def test_a_number_of_images_that_is_none_ends_with_a_sentence(run: Path, images: object) -> None:
    with pytest.raises(InputError, match="images must be a whole number"):
        report(str(run), str(run / "report.html"), images=images)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("comparisons/lung/summary.csv", r"has no column .*doll compare wrote into, or run it again"),
        ("localization/test/localization.csv", "has no column observation"),
    ],
)
def test_a_broken_table_is_explained(run: Path, name: str, sentence: str) -> None:
    add_comparison(run / "comparisons" / "lung", "lung")
    write_csv(run / name, "image,iou", [("a", 0.5)])
    with pytest.raises(InputError, match=sentence):
        write_report(run, run / "report.html")


def test_missing_parts_are_left_out_with_a_sentence(tmp_path: Path) -> None:
    write_json(tmp_path / "pipeline.json", {})
    assert summarize(RunFolder(tmp_path)) == {"seconds": {}, "seconds_total": 0}
    page = page_text(tmp_path)
    for sentence in ("not evaluated in this run", "not compared with ground truth", "no training curves"):
        assert sentence in page
    assert "say nothing about patients" not in page


@pytest.mark.parametrize("part", ["classifier", "labels", "localization", "task", "lung", "chexpert", "../data"])
def test_any_part_may_be_missing(run: Path, part: str) -> None:
    (run / part).resolve().rename(run.parent / "elsewhere")
    assert "Key figures" in page_text(run)


def test_a_folder_that_is_no_run_ends_with_a_sentence(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--run", str(tmp_path), "--output", str(tmp_path / "r.html")]) == 1
    assert "pipeline.json does not exist; give --run the folder of a finished doll run." in capfd.readouterr().err
    assert not (tmp_path / "r.html").exists()
