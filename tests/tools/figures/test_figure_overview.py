"""The overview: what stands in it and which image goes through the stages."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from made_figures import IMAGES, SIZE, square, write_json
from PIL import Image

from doll_monai.findings import FINDINGS, finding_index
from doll_monai.utils.errors import InputError
from doll_tools.figures.overview import HEIGHT, draw_overview
from doll_tools.figures.overview_parts import OverviewParts, TaskPart, explained_images
from doll_tools.figures.runs import backbone_member, finished_run, note_of
from doll_tools.figures.saving import WIDTH, write_figure
from doll_tools.figures.task_images import ShownImage
from doll_tools.report.run_folder import RunFolder


@pytest.fixture
def parts() -> OverviewParts:
    image = np.full((SIZE, SIZE, 3), 90, np.uint8)
    label = np.full((14, SIZE, SIZE), 255, np.uint8)
    label[finding_index("Cardiomegaly")] = square(9, 4)
    mask = np.stack([square(4, 4)])
    tasks = [
        TaskPart([name], ShownImage(Path(), "image.png", "median", mask, {"doll": mask}), image, [(image, mask)], 5)
        for name in ("lungs", "infection")
    ]
    return OverviewParts(
        images=[image, image],
        targets=[1.0, 0.0, -1.0, None, *[None] * 10],
        observation="Cardiomegaly",
        members={"resnet18": 0.81, "densenet121": None},
        backbone="resnet18",
        committee_auroc=0.88,
        maps=np.random.default_rng(0).random((3, SIZE, SIZE)),
        label=label,
        prediction=label == 1,
        labeled=1234,
        tasks=tasks,
        note="drawn from our own run on synthetic images",
    )


def test_the_overview_names_what_the_run_has(parts: OverviewParts, tmp_path: Path) -> None:
    figure = draw_overview(parts)
    words = [text.get_text() for text in figure.axes[0].texts]
    for expected in (
        *FINDINGS,
        "resnet18\nAUROC 0.81 (val.)",
        "densenet121",
        "weights of resnet18",
        "labels of 1,234 images",
    ):
        assert expected in words
    assert {"lungs", "infection", "together 0.88\non test images", parts.note} <= set(words)
    assert words.count("?") == 1
    write_figure(figure, tmp_path / "overview.png", 40)
    assert Image.open(tmp_path / "overview.png").size == (WIDTH * 40, HEIGHT * 40)


def test_the_same_parts_give_the_same_bytes(parts: OverviewParts, tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.svg" for number in range(2)]
    contents = [write_figure(draw_overview(parts), path, 40).read_bytes() for path in paths]
    assert contents[0] == contents[1]


def test_the_image_is_dealt_by_the_hash_of_its_name(run: Path) -> None:
    order = sorted(IMAGES, key=lambda image: hashlib.sha256(image.encode()).hexdigest())
    assert explained_images(RunFolder(run), "cardiomegaly") == order
    assert set(explained_images(RunFolder(run), "Edema")) == set(IMAGES[:2])
    with pytest.raises(InputError, match="none of the 14 observations"):
        explained_images(RunFolder(run), "Gout")
    with pytest.raises(InputError, match="has a label of Fracture; give --observation"):
        explained_images(RunFolder(run), "Fracture")


def test_a_run_must_be_finished(run: Path) -> None:
    folder = finished_run(run)
    assert backbone_member(folder) == 1
    assert note_of(folder.chexpert) == "drawn from our own run on synthetic images"
    (run.parent / "data/phantom.json").unlink()
    assert note_of(folder.chexpert) == "drawn from our own run on the images of data"
    write_json(run / "configs/pretraining_network.json", {"network_def::backbone": {"_target_": "VGG"}})
    with pytest.raises(InputError, match="No member"):
        backbone_member(folder)
    shutil.rmtree(run / "pretraining")
    with pytest.raises(InputError, match=r"has no pretraining/model\.pt; make one by make demo"):
        finished_run(run)
