"""Handlers of the gate: randomized maps beside the real ones, chance, and how alike maps are."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from ignite.engine import Engine, Events
from monai.data import DataLoader, Dataset, MetaTensor
from monai.engines import EnsembleEvaluator
from monai.networks.nets import ResNet
from torch import nn

from doll_monai.data.ground_truth import GroundTruth
from doll_monai.findings import finding_index
from doll_monai.handlers.agreement import MapAgreement
from doll_monai.handlers.chance import ChanceScorer
from doll_monai.handlers.integrated_gradients import IntegratedGradientsHandler
from doll_monai.handlers.localization import LocalizationScorer, with_label_shares
from doll_monai.handlers.randomized import RandomizedExplainer

EDEMA = finding_index("Edema")
SIZE = 16


def _resnet() -> nn.Module:
    return ResNet(
        "basic", [1, 1, 1, 1], [4, 4, 8, 8], spatial_dims=2, n_input_channels=1, num_classes=14, bias_downsample=False
    )


def _explain(networks: list[nn.Module], handlers: list[Any]) -> Any:
    label = torch.zeros(14)
    label[EDEMA] = 1.0
    records = [{"image": torch.rand(1, 32, 32, generator=torch.Generator().manual_seed(0)), "label": label}]
    outputs: list[Any] = []
    evaluator = EnsembleEvaluator(
        torch.device("cpu"),
        DataLoader(Dataset(records), batch_size=1),
        networks,
        pred_keys=[f"pred_{number}" for number in range(len(networks))],
        val_handlers=handlers,
        decollate=False,
    )
    evaluator.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: outputs.append(engine.state.output))
    evaluator.run()
    return outputs[0]


def test_randomized_maps_come_beside_the_real_ones_and_change_nothing_else() -> None:
    torch.manual_seed(0)
    networks = [_resnet(), _resnet()]
    before = [{name: value.clone() for name, value in network.state_dict().items()} for network in networks]
    explainer = IntegratedGradientsHandler(networks, n_steps=2)
    alone = _explain(networks, [explainer])
    explainer = IntegratedGradientsHandler(networks, n_steps=2)
    both = _explain(networks, [explainer, RandomizedExplainer(explainer, seed=3)])
    assert set(both) - set(alone) == {"randomized_0", "randomized_1"}
    for name in ("attribution_0", "attribution_1", "completeness_error_0", "completeness_error_1"):
        assert torch.allclose(both[name], alone[name], equal_nan=True, atol=1e-6)
    for number, network in enumerate(networks):
        assert all(torch.equal(value, before[number][name]) for name, value in network.state_dict().items())
        assert float(both[f"randomized_{number}"][0, EDEMA].abs().sum()) > 0
        assert not torch.allclose(both[f"randomized_{number}"], both[f"attribution_{number}"])
    assert not torch.allclose(both["randomized_0"], both["randomized_1"])


def test_the_checkpoint_that_was_loaded_at_the_start_does_not_matter() -> None:
    """The parameters are drawn from the seed alone, so that two committees meet the same randomized one."""
    maps = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        networks = [_resnet()]
        explainer = IntegratedGradientsHandler(networks, n_steps=2)
        maps.append(_explain(networks, [explainer, RandomizedExplainer(explainer)])["randomized_0"])
    assert torch.equal(*maps)


@pytest.fixture
def truth(tmp_path: Path) -> GroundTruth:
    """Edema lies in the left half of the image, Fracture is not positive, Pneumonia's place is not known."""
    path = tmp_path / "truth.csv"
    (tmp_path / "a.png").touch()
    path.write_text("Path,finding,x,y,width,height\na.png,Edema,0,0,0.5,1\na.png,Fracture,0,0,1,1\n")
    return GroundTruth(path, tmp_path)


def _item(truth: GroundTruth, **maps: torch.Tensor) -> dict[str, Any]:
    target = torch.zeros(14)
    target[[EDEMA, finding_index("Pneumonia")]] = 1.0
    image = MetaTensor(torch.zeros(1, SIZE, SIZE), meta={"filename_or_obj": str(truth.dataset_dir / "a.png")})
    full = {}
    for name, values in maps.items():
        full[name] = torch.zeros(14, SIZE, SIZE)
        full[name][EDEMA] = values
    return {"image": image, "label": target, **full}


def _table(handler: Any, item: dict[str, Any]) -> pd.DataFrame:
    handler(SimpleNamespace(state=SimpleNamespace(output=[item])))
    handler._write(Engine(lambda *_: None))
    return pd.read_csv(handler.path)


def test_chance_of_half_a_image_by_hand(truth: GroundTruth, tmp_path: Path) -> None:
    """A band of a quarter of the image, moved in all ways across a half: 0, and between."""
    values = torch.zeros(SIZE, SIZE)
    values[:4] = 1.0
    table = _table(ChanceScorer(truth, [0.25], tmp_path / "c.csv"), _item(truth, consensus=values))
    widths = [sum((start + k) % SIZE < 8 for k in range(4)) for start in range(SIZE)]
    assert table["iou"].tolist() == [pytest.approx(np.mean([w / (12 - w) for w in widths]), abs=1e-4)]
    assert table["hit"].tolist() == [0.5]
    assert table[["observation", "source"]].to_numpy().tolist() == [["Edema", "chance"]]


def test_likeness_of_known_maps(truth: GroundTruth, tmp_path: Path) -> None:
    rising = torch.arange(SIZE * SIZE, dtype=torch.float32).view(SIZE, SIZE) / SIZE
    maps = {"attribution_0": rising, "attribution_1": rising**2, "consensus": rising}
    maps |= {"randomized_0": rising.flip(0, 1), "randomized_1": rising.flip(0, 1), "randomized": rising.flip(0, 1)}
    item = _item(truth, **maps)
    item |= {f"completeness_error_{k}": torch.full((14,), 0.1 * (k + 1)) for k in range(2)}
    table = _table(MapAgreement(truth, 2, {"default": 0.5, "Edema": 0.25}, tmp_path / "a.csv"), item)
    (row,) = table.to_dict("records")
    assert row["agreement_rank"] == 1.0
    assert row["agreement_ssim"] > 0.5
    assert row["randomized_rank"] == -1.0
    assert row["randomized_iou"] == 0.0
    assert row["label_share"] == 0.25
    assert (row["completeness_0"], row["completeness_1"]) == (pytest.approx(0.1), pytest.approx(0.2))


def test_a_run_without_any_pair_has_a_table_all_the_same(truth: GroundTruth, tmp_path: Path) -> None:
    item = _item(truth) | {"label": torch.zeros(14)}
    table = _table(MapAgreement(truth, 1, 0.1, tmp_path / "a.csv"), item)
    assert table.empty
    assert {"image", "label_share", "completeness_0", "agreement_rank", "randomized_iou"} <= set(table.columns)


def test_a_lone_member_agrees_with_nobody(truth: GroundTruth, tmp_path: Path) -> None:
    values = torch.rand(SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    maps = dict.fromkeys(("attribution_0", "randomized_0", "consensus", "randomized"), values)
    item = _item(truth, **maps) | {"completeness_error_0": torch.zeros(14)}
    (row,) = _table(MapAgreement(truth, 1, 0.1, tmp_path / "a.csv"), item).to_dict("records")
    assert np.isnan(row["agreement_rank"])
    assert row["randomized_rank"] == 1.0
    assert abs(row["unrelated_rank"]) < 0.3


def test_a_map_without_evidence_finds_nothing(truth: GroundTruth, tmp_path: Path) -> None:
    scorer = LocalizationScorer(truth, {"consensus": "consensus"}, [0.1], tmp_path / "l.csv")
    table = _table(scorer, _item(truth, consensus=torch.zeros(SIZE, SIZE)))
    assert table[["iou", "hit"]].to_numpy().tolist() == [[0.0, 0]]


def test_the_labels_own_shares_are_among_those_scored() -> None:
    assert with_label_shares([0.2, 0.1], {"default": 0.1, "Edema": 0.07}) == [0.07, 0.1, 0.2]
