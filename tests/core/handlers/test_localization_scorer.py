"""The handler that scores maps beside two floors."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from ignite.engine import Engine

from doll_monai.data.geometry import with_meta
from doll_monai.data.ground_truth import GroundTruth
from doll_monai.findings import finding_index
from doll_monai.handlers.localization import LocalizationScorer, with_label_shares

EDEMA = finding_index("Edema")
SIZE = 16


@pytest.fixture
def ground_truth(tmp_path: Path) -> GroundTruth:
    """Edema lies in the left half of the image, Fracture is not positive, Pneumonia has no ground truth.

    Edema of two other patients lies in the upper half of their images, that of another image of the patient below.
    """
    path = tmp_path / "truth.csv"
    rows = ["patient1/a.png,Edema,0,0,0.5,1", "patient1/a.png,Fracture,0,0,1,1", "patient1/b.png,Edema,0,0.5,1,0.5"]
    rows += ["patient2/a.png,Edema,0,0,1,0.5", "patient3/a.png,Edema,0,0,1,0.5"]
    path.write_text("\n".join(["Path,finding,x,y,width,height", *rows]))
    return GroundTruth(path, tmp_path)


def _scores(ground_truth: GroundTruth, values: torch.Tensor, share: float) -> pd.DataFrame:
    scorer = LocalizationScorer(ground_truth, {"consensus": "map"}, [share], ground_truth.dataset_dir / "scores.csv")
    target = torch.zeros(14)
    target[[EDEMA, finding_index("Pneumonia")]] = 1.0
    path = ground_truth.dataset_dir / "patient1" / "a.png"
    item = {"image": with_meta(np.zeros((1, SIZE, SIZE), np.float32), np.eye(4), path), "label": target}
    engine = Engine(lambda _engine, batch: batch)
    scorer.attach(engine)
    engine.run([[{**item, "map": torch.zeros(14, SIZE, SIZE).index_fill(0, torch.tensor(EDEMA), 1) * values}]])
    return pd.read_csv(scorer.path, index_col="source")


def test_a_map_is_scored_beside_chance_and_the_location_prior(ground_truth: GroundTruth) -> None:
    """A band across a quarter of the image, half of which is in the ground truth."""
    values = torch.zeros(SIZE, SIZE)
    values[:4] = 1.0
    table = _scores(ground_truth, values, 0.25)
    widths = [sum((start + k) % SIZE < 8 for k in range(4)) for start in range(SIZE)]
    assert list(table.index) == ["consensus", "location_prior", "chance"]
    assert table.loc["consensus", "iou"] == pytest.approx(4 / 8)
    assert table.loc["chance", "iou"] == pytest.approx(np.mean([w / (12 - w) for w in widths]), abs=1e-4)
    assert table.loc[["consensus", "chance"], "hit"].tolist() == [1, 0.5]
    assert (table["truth_share"] == 0.5).all()
    assert (table["observation"] == "Edema").all()


def test_the_location_prior_does_not_know_the_patients_other_images(ground_truth: GroundTruth) -> None:
    """At a share of a half it is the upper half, although another image of the patient has Edema below."""
    found = _scores(ground_truth, torch.ones(SIZE, SIZE), 0.5).loc["location_prior", "iou"]
    assert found == pytest.approx(1 / 3, abs=0.01)


def test_a_finding_of_one_patient_has_no_location_prior(tmp_path: Path) -> None:
    path = tmp_path / "truth.csv"
    path.write_text("Path,finding,x,y,width,height\npatient1/a.png,Edema,0,0,0.5,1\npatient1/b.png,Edema,0,0,1,1\n")
    assert set(_scores(GroundTruth(path, tmp_path), torch.ones(SIZE, SIZE), 0.1).index) == {"consensus", "chance"}


def test_a_map_without_evidence_finds_nothing(ground_truth: GroundTruth) -> None:
    table = _scores(ground_truth, torch.zeros(SIZE, SIZE), 0.1)
    assert table.loc[["consensus", "chance"], "iou"].tolist() == [0.0, 0.0]
    assert table.loc["consensus", "hit"] == 0


def test_the_labels_own_shares_are_among_those_scored() -> None:
    assert with_label_shares([0.2, 0.1], {"default": 0.1, "Edema": 0.07}) == [0.07, 0.1, 0.2]


@pytest.mark.skipif("DOLL_DATA" not in os.environ, reason="DOLL_DATA names no folder of real radiographs")
def test_location_prior_on_boxes_of_radiologists() -> None:
    """532 boxes of 7 findings in 464 NIH radiographs (Wang et al. 2017), a tenth of the image."""
    folder = Path(os.environ["DOLL_DATA"]) / "nih_boxed"
    ground_truth = GroundTruth(folder / "boxes.csv", folder)
    scorer = LocalizationScorer(ground_truth, {}, [0.1], folder / "unused.csv")
    rows = [
        row
        for image in ground_truth.images
        for channel, mask in ground_truth.masks(folder / image, (192, 192)).items()
        for row in scorer.rows(image, channel, mask, {})
    ]
    assert len(rows) == 532
    assert np.mean([row["iou"] for row in rows]) == pytest.approx(0.212, abs=0.01)
