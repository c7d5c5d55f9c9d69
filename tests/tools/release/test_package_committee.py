"""The checkpoint of a committee, and the configuration that declares it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser

from doll_monai.networks.committee import Committee
from doll_monai.networks.weights import load_weights, save_weights
from doll_monai.utils.errors import InputError
from doll_tools.release import committee as release
from narrow import MEMBERS

NAMES = ["resnet10_narrow", "densenet_tiny"]


@pytest.fixture
def bundles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of bundles in which the classifier's members are the small ones of the tests."""
    folder = tmp_path / "chexpert_cxr_classification" / "configs"
    folder.mkdir(parents=True)
    (folder / "members").symlink_to(MEMBERS, target_is_directory=True)
    monkeypatch.setattr(release, "bundles_folder", lambda: tmp_path)
    return tmp_path


def test_the_checkpoint_loads_strictly_into_the_network_declared_and_keeps_the_order(bundles: Path) -> None:
    paths, states = [], []
    for member in release.committee_definition(NAMES)["members"]:
        states.append(ConfigParser({"network_def": member}).get_parsed_content("network_def").state_dict())
        paths.append(str(bundles / f"{len(paths)}.pt"))
        save_weights(states[-1], paths[-1])
    release.write_committee(NAMES, str(bundles / "out"), paths)
    definition = json.loads((bundles / "out" / "committee.json").read_text())
    network = ConfigParser(definition).get_parsed_content("network_def")
    assert isinstance(network, Committee)
    load_weights(network, bundles / "out" / "model.pt")
    for member, state in zip(network.members, states, strict=True):
        assert all(torch.equal(value, state[name]) for name, value in member.state_dict().items())


def test_members_and_checkpoints_must_belong_together(bundles: Path) -> None:
    with pytest.raises(InputError, match="There are 2 members and 1 checkpoints; give one for each"):
        release.write_committee(NAMES, str(bundles / "out"), "a.pt")
    with pytest.raises(InputError, match=r"There is no member 'other'; there are: .*densenet_tiny"):
        release.committee_definition(["other"])
