"""Several tasks on one pre-trained network: each as if it were alone, the backbone once for all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from doll_monai.networks.adapter_file import load_adapter, save_adapter
from doll_monai.networks.adapters import AdaptedNetwork
from doll_monai.networks.weights import load_pretrained
from doll_monai.utils.errors import InputError
from doll_tools.annotate.multi_task import MultiTaskNetwork
from small_pspnet import pretrained as pretrained
from small_pspnet import small_pspnet, train

TASKS: dict[str, tuple[int, dict[str, Any]]] = {
    "lungs": (1, {"tuning": "head"}),
    "heart": (3, {"tuning": "adapter", "targets": ["pyramid", "decoder"]}),
    "infection": (2, {"tuning": "lora", "targets": ["pyramid", "decoder"]}),
    "clavicles": (2, {"tuning": "bias"}),
    "pneumonia": (1, {"tuning": "adapter"}),
}
"""Classes and tuning; the last two reach into the backbone."""

BEHIND = ["lungs", "heart", "infection"]


@pytest.fixture
def adapters(pretrained: Path, tmp_path: Path) -> Callable[..., dict[str, Path]]:
    def build(*tasks: str) -> dict[str, Path]:
        for task in tasks:
            classes, tuning = TASKS[task]
            network = load_pretrained(AdaptedNetwork(small_pspnet(classes), **tuning), pretrained)
            train(network, steps=2)
            save_adapter(network, tmp_path / f"{task}.pt", pretrained)
        return {task: tmp_path / f"{task}.pt" for task in tasks}

    return build


def _alone(task: str, path: Path, pretrained: Path) -> torch.nn.Module:
    classes, tuning = TASKS[task]
    return load_adapter(AdaptedNetwork(small_pspnet(classes), **tuning), path, pretrained).eval()


def test_every_task_gives_what_its_network_gives_alone(adapters, pretrained: Path) -> None:
    files = adapters(*TASKS)
    network = MultiTaskNetwork(small_pspnet(14), pretrained, files)
    x = torch.rand(2, 1, 48, 48)
    with torch.no_grad():
        together = network.predict_all(x)
        assert list(together) == list(TASKS)
        for task, path in files.items():
            network.activate(task)
            expected = _alone(task, path, pretrained)(x)
            assert expected.shape[1] == TASKS[task][0]
            assert torch.equal(network(x), expected)
            assert torch.equal(together[task], expected)
        assert torch.equal(network.predict_all(1 - x)["lungs"], _alone("lungs", files["lungs"], pretrained)(1 - x))


@pytest.mark.parametrize(
    ("tasks", "passes"), [(BEHIND, 1), ([*BEHIND, "clavicles"], 2), (["clavicles", "pneumonia"], 2), (["lungs"], 1)]
)
def test_the_backbone_runs_once_for_all_tasks_behind_it(tasks, passes, adapters, pretrained: Path) -> None:
    plain, runs = small_pspnet(14), []
    plain.backbone.maxpool.register_forward_hook(lambda *_: runs.append(1))
    network = MultiTaskNetwork(plain, pretrained, adapters(*tasks))
    assert network.sharing == [task for task in tasks if task in BEHIND]
    runs.clear()
    for repetition in (1, 2):
        network.predict_all(torch.rand(1, 1, 48, 48))
        assert len(runs) == passes * repetition
    x = torch.rand(1, 1, 48, 48)
    runs.clear()
    network(x), network(x)
    assert len(runs) == 2, "features were kept behind a pass"


def test_frozen_weights_are_in_memory_once(adapters, pretrained: Path) -> None:
    files = adapters(*TASKS)
    network = MultiTaskNetwork(small_pspnet(14), pretrained, files)
    own = sum(
        value.numel() for path in files.values() for value in torch.load(path, weights_only=True)["model"].values()
    )
    plain = small_pspnet(14)
    frozen = sum(value.numel() for name, value in plain.named_parameters() if not name.startswith("head."))
    assert sum(parameter.numel() for parameter in network.parameters()) == frozen + own


def test_switching_moves_no_weights(adapters, pretrained: Path) -> None:
    network = MultiTaskNetwork(small_pspnet(14), pretrained, adapters("lungs", "clavicles"))
    before = {name: (value.data_ptr(), value.clone()) for name, value in network.state_dict().items()}
    network.activate("clavicles")
    network(torch.rand(1, 1, 48, 48))
    for name, value in network.state_dict().items():
        assert (value.data_ptr(), True) == (before[name][0], torch.equal(value, before[name][1]))


def test_a_network_without_the_named_backbone_shares_no_pass(adapters, pretrained: Path) -> None:
    files = adapters("lungs", "heart")
    network = MultiTaskNetwork(small_pspnet(14), pretrained, files, backbone="encoder")
    assert network.sharing == []
    x = torch.rand(1, 1, 48, 48)
    assert torch.equal(network.predict_all(x)["heart"], _alone("heart", files["heart"], pretrained)(x))


def test_an_unknown_task_is_named(adapters, pretrained: Path) -> None:
    network = MultiTaskNetwork(small_pspnet(14), pretrained, adapters("lungs", "heart"))
    with pytest.raises(InputError, match="no task 'spine'; there are: lungs, heart"):
        network.activate("spine")
    with pytest.raises(InputError, match="at least one"):
        MultiTaskNetwork(small_pspnet(14), pretrained, {})


def test_an_adapter_of_another_checkpoint_is_refused(adapters, pretrained: Path, tmp_path: Path) -> None:
    files = adapters("lungs")
    torch.save(small_pspnet(14).state_dict(), tmp_path / "other.pt")
    with pytest.raises(InputError, match=r"lungs\.pt belongs to another pre-trained checkpoint"):
        MultiTaskNetwork(small_pspnet(14), tmp_path / "other.pt", files)


def test_an_adapter_of_another_network_is_refused(pretrained: Path, tmp_path: Path) -> None:
    network = AdaptedNetwork(small_pspnet(1), tuning="head")
    network.network.head = torch.nn.Conv2d(4, 1, 1)
    save_adapter(network, tmp_path / "narrow.pt", pretrained)
    with pytest.raises(InputError, match=r"narrow\.pt belongs to another network"):
        MultiTaskNetwork(small_pspnet(14), pretrained, {"lungs": tmp_path / "narrow.pt"})
