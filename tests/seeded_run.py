"""A folder as a finished pipeline leaves it, with small networks whose weights are seeded, not trained."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from monai.bundle import ConfigParser

from narrow import MEMBERS, ROOT

SIDE = 64


def write_seeded_run(run: Path) -> None:
    """Write networks and weights of the committee and of pre-training.

    Args:
        run: folder to write.
    """
    (run / "configs" / "executed").mkdir(parents=True)
    names = ("resnet10_narrow", "densenet_tiny")
    networks = [ConfigParser.load_config_file(MEMBERS / f"{name}.json")["network_def"] for name in names]
    files = {
        "committee": {"network_def": {"_target_": "doll_monai.networks.Committee", "members": networks}},
        "pretraining_network": {"network_def::backbone": networks[0]},
        "task_network": {"network_def::network::backbone": networks[0]},
        "executed/pretrain": {"image_size": [SIDE, SIDE]},
    }
    for name, content in files.items():
        (run / "configs" / f"{name}.json").write_text(json.dumps(content))
    torch.manual_seed(0)
    for name, bundle, changes in (
        ("committee", "chexpert_cxr_classification", "committee"),
        ("pretraining", "doll_cxr_segmentation", "pretraining_network"),
    ):
        parser = ConfigParser()
        inference = ROOT / "bundles" / bundle / "configs" / "inference.json"
        parser.read_config([str(inference), str(run / "configs" / f"{changes}.json")])
        (run / name).mkdir()
        torch.save(parser.get_parsed_content("network_def").state_dict(), run / name / "model.pt")
