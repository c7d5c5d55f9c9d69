"""A folder as a finished pipeline leaves it, with small networks whose weights are seeded, not trained."""

from __future__ import annotations

import json
from pathlib import Path

from few_images import write_weights
from narrow import ROOT, read_config, smaller

SIDE = 64


def write_seeded_run(run: Path) -> None:
    """Write networks and weights of the committee and of pre-training to the folder ``run``."""
    (run / "configs" / "executed").mkdir(parents=True)
    bundles = ROOT / "bundles"
    networks = {
        name: smaller(read_config(bundles / bundle, "inference")["network_def"])
        for name, bundle in (("committee", "doll_cxr_label_generation"), ("pretraining", "doll_cxr_segmentation"))
    }
    networks["committee"]["members"] = networks["committee"]["members"][1:]
    backbone = networks["pretraining"]["backbone"]
    files = {
        "committee": {"network_def": networks["committee"]},
        "pretraining_network": {"network_def": networks["pretraining"]},
        "task_network": read_config(bundles / "lung_cxr_segmentation", "networks/pspnet")
        | {"network_def::network::backbone": backbone},
        "executed/pretrain": {"image_size": [SIDE, SIDE]},
    }
    for name, content in files.items():
        (run / "configs" / f"{name}.json").write_text(json.dumps(content))
    for name, network in networks.items():
        values = {"network_def": network, "checkpoint": str(run / name / "model.pt")}
        write_weights(bundles / "doll_cxr_segmentation", values)
