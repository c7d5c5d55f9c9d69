"""Segmentation with and without pre-training: which images are shown, and how their masks are made."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
from made_figures import SIZE, save, square, write_json
from PIL import Image

from doll_monai.data.label_files import write_label
from doll_monai.utils.errors import InputError
from doll_monai.utils.json_object import read_json_object
from doll_tools.compare.bundle import FOLDER
from doll_tools.compare.cells import Cell
from doll_tools.compare.measured import read_task
from doll_tools.figures import task_images
from doll_tools.figures.saving import WIDTH, write_figure
from doll_tools.figures.task_images import ShownImage, chosen_images, inference_command, shown_images
from doll_tools.figures.with_and_without import draw_with_and_without, mean_iou

IMAGES = [f"image{number}.png" for number in range(5)]
CELLS = [Cell(init, "full", 5, 0) for init in ("scratch", "doll")]
BUNDLE = Path(__file__).resolve().parents[3] / "bundles" / "jsrt_cxr_segmentation"


def scoring_command(data: Path) -> list[str]:
    configs = [str(BUNDLE / "configs" / f"{name}.json") for name in ("train", "evaluate")]
    configs += [str(FOLDER / "score.json"), "network.json"]
    values = {"dataset_dir": data, "label_dir": "labels", "datalist": "old.json", "learning_rate": 0.01}
    values |= {"network_def::tuning": "full", "train::label_loading::channels": "$None", "image_size": "[32, 32]"}
    values |= {"output_dir": "scores", "checkpoint": "old.pt", "classes": '["lungs", "heart"]'}
    arguments = [text for name, value in values.items() for text in (f"--{name}", str(value))]
    start = ["python", "-m", "monai.bundle", "run", "--config_file", str(configs)]
    return [*start, "--bundle_root", str(BUNDLE), *arguments]


def test_images_are_chosen_by_the_mean_of_both_networks(comparison: Path) -> None:
    task = read_task(comparison)
    ranks = ("best", "median", "worst")
    assert chosen_images(task, CELLS, ranks, IMAGES) == {
        "best": "image4.png",
        "median": "image2.png",
        "worst": "image0.png",
    }
    doll = (task.images["init"] == "doll") & (task.images["image"] == "image0.png")
    task.images.loc[doll, "iou"] = 1.0  # mean 0.55: from the last place to the fourth
    assert chosen_images(task, CELLS, ranks, IMAGES) == {
        "best": "image4.png",
        "median": "image3.png",
        "worst": "image1.png",
    }


def test_the_median_of_an_even_number_is_the_lower(comparison: Path) -> None:
    task = read_task(comparison)
    task.images.drop(task.images.index[task.images["image"] == "image4.png"], inplace=True)
    assert chosen_images(task, CELLS, ["median"], IMAGES) == {"median": "image1.png"}


def test_valid_images_are_never_shown(comparison: Path) -> None:
    task = read_task(comparison)
    task.images.loc[(task.images["split"] == "valid") & (task.images["image"] == "image0.png"), "image"] = "other.png"
    assert "other.png" not in chosen_images(task, CELLS, ["best", "worst"], [*IMAGES, "other.png"]).values()
    with pytest.raises(InputError, match="no rank 'nicest'"):
        chosen_images(task, CELLS, ["nicest"], IMAGES)
    with pytest.raises(InputError, match="no test image of the cell scratch_full_shots5_seed7"):
        chosen_images(task, [Cell("scratch", "full", 5, 7)], ["median"], IMAGES)


def test_the_network_that_was_scored_predicts(tmp_path: Path) -> None:
    command, data = inference_command(scoring_command(tmp_path), Path("new.pt"), Path("out"))
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
        "--classes": '["lungs", "heart"]',
        "--checkpoint": "new.pt",
        "--output_dir": "out",
    }
    known = read_json_object(BUNDLE / "configs/inference.json")
    assert all(name[2:].partition("::")[0] in known for name in list(values)[1:])


def test_masks_of_the_chosen_images_are_made_and_read(
    comparison: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = "image2.png"
    truth = np.stack([square(4, 4), square(18, 18)])
    write_label(comparison / "task/labels/image2.nii.gz", truth.transpose(0, 2, 1).astype(np.uint8))
    write_json(comparison / "task/dataset.json", {"test": [{"image": image, "label": "labels/image2.nii.gz"}]})
    for cell in CELLS:
        (comparison / "cells" / cell.name / "model.pt").write_bytes(b"")
        record = {"command": shlex.join(scoring_command(tmp_path / "images"))}
        write_json(comparison / ".stages" / f"{cell.name}_scores.json", record)

    def predict(command: list[str]) -> None:
        output = Path(command[command.index("--output_dir") + 1])
        assert read_json_object(output / "dataset.json") == {"test": [{"image": image}]}
        shift = 0 if "doll" in output.name else 4
        masks = np.stack([square(4, 4 + shift), square(18, 18)]).astype(np.uint8)
        write_label(output / "image2_lungs_heart.nii.gz", masks.transpose(0, 2, 1))

    monkeypatch.setattr(task_images, "run_printed", predict)
    shown = shown_images(comparison, read_task(comparison), CELLS, ["median"], tmp_path / "masks")
    assert [(image.data, image.image, image.rank) for image in shown] == [(tmp_path / "images", image, "median")]
    assert mean_iou(shown[0].masks["doll"], shown[0].truth) == 1.0
    assert mean_iou(shown[0].masks["scratch"], shown[0].truth) == pytest.approx((8 / 16 + 1) / 2)


def test_images_with_an_empty_truth_are_not_shown(comparison: Path) -> None:
    records = []
    for number, image in enumerate(IMAGES):
        write_label(comparison / f"task/{number}.nii.gz", square(4, 4)[None].astype(np.uint8) * (number > 2))
        records.append({"image": image, "label": f"{number}.nii.gz"})
    write_json(comparison / "task/dataset.json", {"test": records})
    assert list(task_images._labels(comparison, read_task(comparison))) == IMAGES[3:]


def test_weights_that_were_not_kept_are_asked_for(comparison: Path, tmp_path: Path) -> None:
    write_label(comparison / "task/0.nii.gz", square(4, 4)[None].astype(np.uint8))
    write_json(comparison / "task/dataset.json", {"test": [{"image": "image0.png", "label": "0.nii.gz"}]})
    with pytest.raises(InputError, match="--keep_weights true"):
        shown_images(comparison, read_task(comparison), CELLS, ["median"], tmp_path / "masks")


def test_the_figure_is_a_picture_of_its_size_and_always_the_same(tmp_path: Path) -> None:
    save(tmp_path / "image.png", np.tile(np.linspace(0, 200, SIZE), (SIZE, 1)))
    truth, empty = np.stack([square(4, 4)]), np.zeros((1, SIZE, SIZE), bool)
    images = [
        ShownImage(tmp_path, "image.png", rank, truth, {"scratch": empty, "doll": truth})
        for rank in ("median", "worst")
    ]
    contents = []
    for number in range(2):
        figure = draw_with_and_without({"lungs": images}, {"lungs": ["lungs"]}, ["scratch", "doll"])
        contents.append(write_figure(figure, tmp_path / f"{number}.png", 40).read_bytes())
    assert contents[0] == contents[1]
    assert Image.open(tmp_path / "0.png").size[0] == WIDTH * 40
    assert [panel.get_xlabel() for panel in figure.axes] == ["", "IoU 0.00", "IoU 1.00"] * 2
