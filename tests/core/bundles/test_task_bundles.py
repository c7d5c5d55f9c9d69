"""What the bundles of the tasks have in common: their training, and its rates by part of the network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser

from doll_monai.networks.adapters import TUNINGS
from doll_monai.utils.errors import sentence_of

ROOT = Path(__file__).resolve().parents[3]
TASKS = ("lung", "jsrt", "covid")
MEMBERS = ROOT / "bundles" / "chexpert_cxr_classification" / "configs" / "members"
SEGRESNET = ROOT / "bundles" / "doll_cxr_segmentation" / "configs" / "networks" / "segresnet.json"

each_task = pytest.mark.parametrize("task", TASKS)


def _config(task: str) -> dict[str, Any]:
    return json.loads((ROOT / "bundles" / f"{task}_cxr_segmentation" / "configs" / "train.json").read_text())


def _parser(task: str, **values: Any) -> ConfigParser:
    """The configuration with a narrow PSPNet and a schedule of ten steps."""
    parser = ConfigParser(_config(task))
    backbone = json.loads((MEMBERS / "resnet10_narrow.json").read_text())["network_def"]
    narrow = {"network_def::network::backbone": backbone, "network_def::network::decoder_channels": 8}
    parser.update({**narrow, "device": "cpu", "lr_scheduler::total_steps": 10, **values})
    return parser


def _rates(parser: ConfigParser) -> dict[str, float]:
    """Rate of every trained parameter by its name; none twice."""
    network = parser.get_parsed_content("network")
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    groups = parser.get_parsed_content("optimizer").param_groups
    pairs = [(names[id(parameter)], group["lr"]) for group in groups for parameter in group["params"]]
    assert len(pairs) == len(dict(pairs))
    assert set(dict(pairs)) == {name for name, value in network.named_parameters() if value.requires_grad}
    return dict(pairs)


def test_tasks_train_alike() -> None:
    first, *others = ({**_config(task), "classes": None, "dataset_dir": None} for task in TASKS)
    assert all(other == first for other in others)


@each_task
@pytest.mark.parametrize("tuning", TUNINGS)
def test_every_tuning_learns_at_one_rate_unless_told_otherwise(task: str, tuning: str) -> None:
    if tuning == "lora":
        pytest.importorskip("peft")
    rates = _rates(_parser(task, **{"network_def::tuning": tuning, "learning_rate": 0.002}))
    assert set(rates.values()) == {0.002}


@pytest.mark.parametrize("tuning", TUNINGS)
def test_what_is_trained_in_the_backbone_takes_its_rate(tuning: str) -> None:
    if tuning == "lora":
        pytest.importorskip("peft")
    rates = _rates(_parser("lung", **{"network_def::tuning": tuning, "backbone_learning_rate": 0.0003}))
    expected = {name: 0.0003 if name.startswith("network.backbone.") else 0.001 for name in rates}
    assert rates == expected
    assert set(rates.values()) == ({0.001} if tuning == "head" else {0.001, 0.0003})


def test_the_schedule_leads_each_part_to_its_rate_and_the_state_records_it() -> None:
    parser = _parser("lung", **{"network_def::tuning": "full", "backbone_learning_rate": 0.0003})
    optimizer, scheduler = (parser.get_parsed_content(name) for name in ("optimizer", "lr_scheduler"))
    reached = torch.zeros(2)
    for _ in range(9):
        optimizer.step()
        scheduler.step()
        reached = torch.maximum(reached, torch.tensor(scheduler.get_last_lr()))
    assert reached.tolist() == pytest.approx([0.0003, 0.001], rel=0.1)
    (state,) = (h for h in parser["train::handlers"] if h["_target_"].endswith("TrainingState"))
    assert state["settings"] == "@parameters"
    assert parser.get_parsed_content("parameters::backbone_learning_rate") == 0.0003


def test_a_network_without_backbone_takes_one_rate_alone() -> None:
    network = json.loads(SEGRESNET.read_text())["network_def"]
    values = {"network_def::tuning": "full", "network_def::head": "conv_final", "network_def::network": network}
    assert set(_rates(_parser("lung", **values)).values()) == {0.001}
    with pytest.raises(Exception) as caught:  # noqa: PT011 - MONAI wraps it
        _parser("lung", **values, backbone_learning_rate=0.0003).get_parsed_content("optimizer")
    assert str(sentence_of(caught.value)).startswith("network_def has no network.backbone that could learn at a rate")
