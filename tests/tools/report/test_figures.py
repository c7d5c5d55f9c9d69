"""Figures of a run: which images they show, with which numbers, and the same file each time."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from small_run import IMAGES, add_comparison, save, square

from doll_monai.data.label_files import write_label
from doll_monai.utils.errors import InputError
from doll_monai.utils.json_object import read_json_object
from doll_tools.compare.bundle import OURS
from doll_tools.compare.cells import Cell
from doll_tools.report.figures import pretraining
from doll_tools.report.figures.command import figure
from doll_tools.report.figures.labels import median_pairs, scored_pairs
from doll_tools.report.figures.pretraining import chosen_images, inference_command
from doll_tools.report.labels import LabeledImage, Labels, Pair
from doll_tools.report.run_folder import RunFolder

BUNDLE = Path(__file__).resolve().parents[3] / "bundles" / "lung_cxr_segmentation"
CELLS = [Cell(name, "full", 5, 0) for name in ("scratch", "doll")]


def _scores() -> pd.DataFrame:
    """Five test images and a valid one; image k has the IoU (k + 1) / 10, and 0.2 more after pre-training."""
    rows = []
    for cell, more in zip(CELLS, (0.0, 0.2), strict=True):
        for number in range(6):
            row = {**cell._asdict(), "split": "test" if number < 5 else "valid", "image": f"image{number}.png"}
            rows += [{**row, "class": kind, "iou": (number + 1) / 10 + more} for kind in ("lungs", "heart")]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(("name", "kind"), [("overview", "png"), ("labels", "pdf"), ("curves", "svg")])
def test_the_same_run_gives_the_same_file(run: Path, tmp_path: Path, name: str, kind: str) -> None:
    add_comparison(run / "comparisons" / "lung", "lung")
    paths = [tmp_path / f"{number}.{kind}" for number in range(2)]
    for path in paths:
        figure(name, str(run), str(path), dpi=40)
    first, second = (path.read_bytes() for path in paths)
    assert first == second
    assert first.startswith({"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}[kind])


def test_the_foreground_of_labels_is_compared_with_the_ground_truth(run: Path) -> None:
    labels = Labels(RunFolder(run))
    sections, pairs = scored_pairs(labels)
    assert sections == "validation and test"
    assert [(image.image, pair.observation, pair.iou) for image, pair in pairs] == [(IMAGES[0], "Lung Opacity", 1.0)]
    (run.parent / "data/truth.csv").unlink()
    with pytest.raises(InputError, match="has both a label and ground truth"):
        figure("labels", str(run), str(run / "labels.png"))


def test_the_median_image_of_the_observations_with_most_images_is_shown_once() -> None:
    def pairs(name: str, count: int) -> list[tuple[LabeledImage, Pair]]:
        return [(LabeledImage(f"{n}", "test"), Pair(name, *[None] * 4, iou=n / 10)) for n in range(count)]

    shown = median_pairs([*pairs("Edema", 3), *pairs("Cardiomegaly", 5)], 1)
    assert [(image.image, pair.observation) for image, pair in shown] == [("2", "Cardiomegaly")]
    both = median_pairs([*pairs("Cardiomegaly", 5), *pairs("Edema", 5)], 2)
    assert [image.image for image, _ in both] == ["2", "1"]


def test_test_images_are_ordered_by_the_mean_of_both_networks() -> None:
    scores, known = _scores(), [f"image{number}.png" for number in range(6)]
    chosen = chosen_images(scores, CELLS, known)
    assert {rank: image for rank, (image, _) in chosen.items()} == {"median": "image2.png", "worst": "image0.png"}
    assert chosen["worst"][1] == pytest.approx([0.1, 0.3])
    scores.loc[(scores["image"] == "image0.png") & (scores["initialization"] == "doll"), "iou"] = 1.0
    assert chosen_images(scores, CELLS, known)["worst"][0] == "image1.png"
    assert chosen_images(scores, CELLS, known[1:])["worst"][0] == "image1.png"
    with pytest.raises(InputError, match="no test image of the cell scratch_full_shots5_seed7"):
        chosen_images(scores, [Cell("scratch", "full", 5, 7)], known)


def _scoring_command(data: Path) -> list[str]:
    configs = [str(BUNDLE / "configs" / f"{name}.json") for name in ("train", "evaluate")]
    configs += [str(OURS["evaluate"])]
    values = {"dataset_dir": data, "label_dir": "labels", "datalist": "old.json", "learning_rate": 0.01}
    values |= {"network_def::tuning": "full", "image_size": "[32, 32]", "checkpoint": "old.pt", "classes": '["lungs"]'}
    arguments = [text for name, value in values.items() for text in (f"--{name}", str(value))]
    start = ["python", "-m", "monai.bundle", "run", "--config_file", str([*configs, "network.json"])]
    return [*start, "--bundle_root", str(BUNDLE), *arguments]


def test_the_network_that_was_scored_predicts(tmp_path: Path) -> None:
    command, data = inference_command(_scoring_command(tmp_path), Path("new.pt"), Path("out"))
    values = dict(zip(command[4::2], command[5::2], strict=True))
    assert data == tmp_path
    assert values == {
        "--config_file": str([str(BUNDLE / "configs/inference.json"), "network.json"]),
        "--bundle_root": str(BUNDLE),
        "--dataset_dir": str(tmp_path),
        "--datalist": "out/dataset.json",
        "--section": "test",
        "--network_def::tuning": "full",
        "--image_size": "[32, 32]",
        "--classes": '["lungs"]',
        "--checkpoint": "new.pt",
        "--output_dir": "out",
    }
    known = read_json_object(BUNDLE / "configs/inference.json")
    assert all(name[2:].partition("::")[0] in known for name in list(values)[1:])


def test_masks_are_predicted_once_and_drawn(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, commands = tmp_path / "comparisons" / "lung", []
    add_comparison(folder, "lung")
    images = [f"image{number}.png" for number in range(5)]
    _scores().assign(patient="p", dice=0.5, hd95=0.1).to_csv(folder / "images.csv", index=False)
    for image in images:
        save(tmp_path / "data" / image, square() * 200)
        write_label((folder / "task/labels" / image).with_suffix(".nii.gz"), square().T[None])
    records = [{"image": image, "label": f"labels/{image[:-4]}.nii.gz"} for image in images]
    (folder / "task/dataset.json").write_text(json.dumps({"test": records}))

    def predict(command: list[str], check: bool) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        output = Path(command[command.index("--output_dir") + 1])
        for record in read_json_object(output / "dataset.json")["test"]:
            write_label(output / f"{record['image'][:-4]}_lungs.nii.gz", np.roll(square().T, 4, 0)[None])
        return subprocess.CompletedProcess(command, 0)

    def draw() -> None:
        figure("pretraining", str(run), str(tmp_path / "figure.png"), str(tmp_path / "comparisons"), dpi=40)

    monkeypatch.setattr(pretraining.subprocess, "run", predict)
    scoring = shlex.join(_scoring_command(tmp_path / "data"))
    for cell in CELLS:
        path = folder / "cells" / cell.name / "cell.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"scoring_command": scoring}))
    with pytest.raises(InputError, match="--keep_weights true"):
        draw()
    for cell in CELLS:
        (folder / "cells" / cell.name / "model.pt").write_bytes(b"")
    draw()
    draw()
    assert len(commands) == 2
    assert Image.open(tmp_path / "figure.png").size[0] > 200


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"name": "map"}, "There is no figure 'map'; there are: overview, labels, pretraining, curves."),
        ({"output": "figure.jpg"}, r"figure\.jpg must end in \.png, \.svg, \.pdf\."),
        ({"dpi": 0}, "dpi must be a whole number from 20 to 1200, not 0"),
        ({"name": "curves"}, "has no comparisons; give --comparisons"),
        ({"comparisons": "nowhere", "name": "curves"}, "nowhere holds no finished comparison"),
    ],
)
def test_mistakes_end_in_a_sentence(run: Path, tmp_path: Path, values: dict, sentence: str) -> None:
    options = {"name": "labels", "output": str(tmp_path / "figure.png"), **values}
    with pytest.raises(InputError, match=sentence):
        figure(run=str(run), **options)
    assert not (tmp_path / "figure.png").exists()


def test_a_run_without_labels_has_no_overview(run: Path) -> None:
    (run / "labels/labels.csv").unlink()
    with pytest.raises(InputError, match="has no labels"):
        figure("overview", str(run), str(run / "overview.png"))
