"""How alike maps are, against hand-worked cases, and the table of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from ignite.engine import Engine

from doll_monai.data.geometry import with_meta
from doll_monai.data.ground_truth import GroundTruth
from doll_monai.findings import finding_index
from doll_tools.evaluate.agreement import MapAgreement

EDEMA, SIZE = finding_index("Edema"), 16


def _likeness(tmp_path: Path, maps: dict[str, torch.Tensor], share: Any = 0.1, positive: int = EDEMA) -> list[dict]:
    """The rows of an image in which Edema has ground truth, each map being (SIZE, SIZE)."""
    (tmp_path / "truth.csv").write_text("Path,finding,x,y,width,height\npatient1/a.png,Edema,0,0,0.5,1\n")
    members = sum(name.startswith("attribution") for name in maps)
    item = {name: values.repeat(14, 1, 1) for name, values in maps.items()}
    item |= {f"completeness_error_{k}": torch.full((14,), 0.1 * (k + 1)) for k in range(members)}
    item["image"] = with_meta(np.zeros((1, SIZE, SIZE), np.float32), np.eye(4), tmp_path / "patient1/a.png")
    item["label"] = torch.eye(14)[positive]
    truth = GroundTruth(tmp_path / "truth.csv", tmp_path)
    engine = Engine(lambda _engine, batch: batch)
    MapAgreement(truth, members, share, tmp_path / "agreement.csv").attach(engine)
    engine.run([[item]])
    return pd.read_csv(tmp_path / "agreement.csv").to_dict("records")


def test_likeness_of_known_maps(tmp_path: Path) -> None:
    rising = torch.arange(SIZE * SIZE, dtype=torch.float32).view(SIZE, SIZE) / SIZE
    maps = {"attribution_0": rising, "attribution_1": rising**2, "consensus": rising}
    maps |= dict.fromkeys(("randomized_0", "randomized_1", "randomized"), rising.flip(0, 1))
    (row,) = _likeness(tmp_path, maps, {"default": 0.5, "Edema": 0.25})
    expected = {"agreement_rank": 1, "randomized_rank": -1, "randomized_iou": 0, "label_share": 0.25}
    expected |= {"completeness_0": pytest.approx(0.1), "completeness_1": pytest.approx(0.2)}
    assert {name: row[name] for name in expected} == expected


def test_a_lone_member_agrees_with_nobody_and_a_negative_observation_has_no_row(tmp_path: Path) -> None:
    values = torch.rand(SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    maps = dict.fromkeys(("attribution_0", "randomized_0", "consensus", "randomized"), values)
    (row,) = _likeness(tmp_path, maps)
    assert np.isnan(row["agreement_rank"])
    assert row["randomized_rank"] == 1.0
    assert abs(row["unrelated_rank"]) < 0.3
    assert _likeness(tmp_path, maps, positive=EDEMA + 1) == []
