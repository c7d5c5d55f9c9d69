"""Broken images, datalists, checkpoints and values: a run ends with the sentence, and earlier results stay intact."""

from __future__ import annotations

import json
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image

from doll_monai.utils.errors import TRACEBACK_VARIABLE
from few_images import digests, on_images, run, write_images, write_weights
from narrow import ROOT

CLASSIFIER, LUNGS, GENERATION = (
    ROOT / "bundles" / name
    for name in ("chexpert_cxr_classification", "lung_cxr_segmentation", "doll_cxr_label_generation")
)
Given = Callable[[Path, Path], dict[str, Any]]
"""From the world and an empty folder to the values that are given to a run."""


def _values(bundle: Path, world: Path, output: Path) -> dict[str, Any]:
    """Values that are good; a classifier is trained, the other two bundles are run with weights of the world."""
    values = on_images(bundle, world, output, ["train" if bundle == CLASSIFIER else "inference"])
    if bundle != CLASSIFIER:
        values["checkpoint"] = str(world / f"{bundle.name}.pt")
    if bundle == GENERATION:
        values["network_def"]["members"] = values["network_def"]["members"][:1]
        values["gradcam_layers"] = values["gradcam_layers"][:1]
    return values


def _run(bundle: Path, values: dict[str, Any]) -> None:
    run(bundle, ["train" if bundle == CLASSIFIER else "inference"], values)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images, one of them text, weights of each bundle, and results of a training and of label generation."""
    folder = write_images(tmp_path_factory.mktemp("world"), count=6)
    for bundle in (LUNGS, GENERATION):
        write_weights(bundle, _values(bundle, folder, folder))
    for bundle in (CLASSIFIER, GENERATION):
        _run(bundle, _values(bundle, folder, folder / bundle.name))
    (folder / "images" / "text.png").write_text("no picture")
    return folder


def values(**given: Any) -> Given:
    """Values of which a text may name the world or the empty folder, as ``{world}`` and ``{folder}``."""
    return lambda world, folder: {
        name: value.format(world=world, folder=folder) if isinstance(value, str) else value
        for name, value in given.items()
    }


def datalist(change: Callable[[dict[str, list[dict]]], object]) -> Given:
    """Another datalist: with the content that ``change`` makes or returns."""

    def write(world: Path, folder: Path) -> dict[str, Any]:
        content = json.loads((world / "observations.json").read_text())
        (folder / "list.json").write_text(json.dumps(change(content) or content))
        return {"datalist": str(folder / "list.json")}

    return write


def first(section: str = "training", **changed: Any) -> Given:
    """Other values in the first record of a section."""
    return datalist(lambda content: content[section][0].update(changed))


def image(name: str, write: Callable[[Path], object]) -> Given:
    """One image alone."""

    def given(_world: Path, folder: Path) -> dict[str, Any]:
        write(folder / name)
        return {"dataset_dir": str(folder)}

    return given


class Unexpected:
    """What makes a folder when it is unpickled."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (self.folder,)


def pickled(_world: Path, folder: Path) -> dict[str, Any]:
    (folder / "model.pt").write_bytes(pickle.dumps(Unexpected(str(folder / "unpickled"))))
    return {"checkpoint": str(folder / "model.pt")}


def weights(value: float) -> Given:
    """A checkpoint whose last layer has one such weight."""

    def given(world: Path, folder: Path) -> dict[str, Any]:
        content = torch.load(world / f"{LUNGS.name}.pt", weights_only=True)
        list(content.values())[-2].flatten()[0] = value
        torch.save(content, folder / "model.pt")
        return {"checkpoint": str(folder / "model.pt"), "datalist": str(world / "1.json")}

    return given


CASES: dict[str, tuple[Path, Given, str]] = {
    "no folder": (LUNGS, values(dataset_dir="nowhere"), "The folder nowhere does not exist"),
    "no image": (LUNGS, values(dataset_dir="{folder}"), "The folder {folder} holds no radiograph"),
    "text named PNG": (LUNGS, values(on_error="raise"), "The image {world}/images/text.png cannot be read"),
    "one pixel": (
        LUNGS,
        image("a.png", Image.new("L", (1, 1)).save),
        "The image {folder}/a.png cannot be read (it is no",
    ),
    "two images of one name": (
        LUNGS,
        lambda _world, folder: (
            [Image.new("L", (8, 8)).save(folder / name) for name in ("a.jpg", "a.png")] and {"dataset_dir": str(folder)}
        ),
        "{folder}/a.jpg and {folder}/a.png would have the same name in the output; rename one of them.",
    ),
    "no checkpoint": (LUNGS, values(checkpoint="no.pt"), "The checkpoint no.pt does not exist; train the network"),
    "an unsafe checkpoint": (LUNGS, pickled, "The file {folder}/model.pt is not a checkpoint that can be read safely"),
    "a checkpoint of another network": (
        *(LUNGS, values(checkpoint="{world}/doll_cxr_label_generation.pt")),
        "The checkpoint {world}/doll_cxr_label_generation.pt belongs to another network than network_def",
    ),
    "a weight that is NaN": (
        *(LUNGS, weights(float("nan"))),
        "The checkpoint {folder}/model.pt holds weights that are not a number, the first in 'network.head",
    ),
    "an output that is NaN": (LUNGS, weights(float("inf")), "The network's output holds values that are no numbers"),
    "no such tuning": (LUNGS, values(**{"network_def::tuning": "adaptor"}), "tuning must be one of adapter, lora"),
    "no such precision": (LUNGS, values(precision="float12"), "dtype must be 'auto' or a torch dtype"),
    "a datalist that is a list": (CLASSIFIER, datalist(lambda _: [1]), "{folder}/list.json must hold one JSON object"),
    "an image that is not there": (CLASSIFIER, first(image="a.png"), "The image {world}/images/a.png does not exist"),
    "an image that a data loader's process cannot read": (
        CLASSIFIER,
        lambda *given: {**first(image="text.png")(*given), "num_workers": 1},
        "The image {world}/images/text.png cannot be read",
    ),
    "a bad validation image": (
        *(CLASSIFIER, first("validation", image="text.png")),
        "The image {world}/images/text.png cannot be read",
    ),
    "thirteen labels": (CLASSIFIER, first(label=[0.0] * 13), "Record 2 of 'training' in {folder}/list.json has 14"),
    "a label of 2": (CLASSIFIER, first(label=[2.0] * 14), "Record 1 of 'training' in {folder}/list.json has the label"),
    "a mask for labels": (
        CLASSIFIER,
        first(label="mask.nii.gz"),
        "needs 14 labels of observations, not '{world}/images/mask.nii.gz'",
    ),
    "uncertain labels alone": (
        CLASSIFIER,
        datalist(lambda content: [record.update(label=[-1.0] * 14) for record in content["training"]] and None),
        "None of the 14 observations is known to be there in one training image and absent in another",
    ),
    "the folder of another training": (
        CLASSIFIER,
        values(ckpt_dir="{world}/chexpert_cxr_classification", learning_rate=0.1),
        "{world}/chexpert_cxr_classification/training_state.pt belongs to a training with another learning_rate",
    ),
    "an MLflow store that is a folder": (
        CLASSIFIER,
        values(tracking=str(CLASSIFIER / "configs" / "mlflow.json"), tracking_uri="{world}"),
        "MLflow keeps no runs in a folder ({world}); give --tracking_uri sqlite:///",
    ),
    "no such engine": (GENERATION, values(ig_engine="other"), "engine must be one of doll, captum"),
    "the folder of other labels": (
        GENERATION,
        values(output_dir="{world}/doll_cxr_label_generation", ig_steps=3),
        "The labels in {world}/doll_cxr_label_generation were made with another ig_steps; give a new output_dir",
    ),
    "a folder that is a file": (
        *(GENERATION, values(output_dir="{world}/truth.csv")),
        "{world}/truth.csv/provenance.json cannot be written",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_one_sentence_and_earlier_results_intact(
    case: str, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The interpreter prints the text of ``SystemExit`` last, and ends with exit code 1."""
    bundle, given, sentence = CASES[case]
    before = digests(world)
    values = {**_values(bundle, world, tmp_path / "out"), **given(world, tmp_path)}
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", SimpleNamespace(name="monai.bundle.__main__"))
    monkeypatch.delenv(TRACEBACK_VARIABLE, raising=False)
    with pytest.raises(SystemExit) as stop:
        _run(bundle, values)
    assert str(stop.value.code).startswith("Error: ")
    assert sentence.format(world=world, folder=tmp_path) in str(stop.value.code)
    assert "\n" not in str(stop.value.code)
    assert digests(world) == before
    assert not [path for path in tmp_path.rglob("*") if path.suffix == ".tmp" or path.name == "unpickled"]


def test_a_black_image_with_a_name_of_any_alphabet_is_an_image(world: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    Image.new("L", (64, 64)).save(tmp_path / "new" / "肺 Länge 1.png")
    run(LUNGS, ["inference"], _values(LUNGS, world, tmp_path / "out") | {"dataset_dir": str(tmp_path / "new")})
    mask = nib.load(tmp_path / "out" / "肺 Länge 1_lungs.nii.gz").get_fdata()
    assert mask.shape[:2] == (64, 64)
    assert set(np.unique(mask)) <= {0.0, 1.0}


def test_inference_leaves_a_broken_image_out_and_names_it(
    world: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    values = _values(LUNGS, world, tmp_path / "out")
    run(LUNGS, ["inference"], {**values, "dataset_dir": str(world / "images"), "batch_size": 4})
    images = sorted(path for path in (world / "images").rglob("*.png") if path.name != "text.png")
    for ending in ("_lungs.nii.gz", "_overlay.png"):
        written = [path.name for path in (tmp_path / "out").rglob(f"*{ending}")]
        assert sorted(written) == sorted(f"{image.stem}{ending}" for image in images)
    header, line = (tmp_path / "out" / "failures.csv").read_text().splitlines()
    assert header == "image,reason"
    assert line.startswith(f"{world}/images/text.png,The image {world}/images/text.png cannot be read")
    assert f"1 of {len(images) + 1} images could not be read and have no result, first {world}" in caplog.text
