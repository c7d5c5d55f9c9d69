"""One network of several trained classifiers: its checkpoint, and the configuration that declares it.

Example:
    doll package committee --members densenet121,resnet50 --checkpoints a/model.pt,b/model.pt --output output/committee
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from doll_monai.networks.weights import assemble_committee
from doll_monai.utils.atomic import write_atomic
from doll_monai.utils.errors import InputError
from doll_tools.arguments import list_argument
from doll_tools.folders import bundles_folder
from doll_tools.pipeline.plan import committee_definition

MEMBERS = bundles_folder() / "chexpert_cxr_classification" / "configs" / "members"


def write_committee(members: str | Sequence[str], output: str, checkpoints: str | Sequence[str] | None = None) -> None:
    """Write committee.json, an override of network_def, and with checkpoints the committee's own, model.pt.

    Args:
        members: names of configs/members/NAME.json of the classifier bundle, with commas between.
        output: folder to write into; give its committee.json after the bundle's own in --config_file.
        checkpoints: the members' model.pt, in the same order.
    """
    names = list_argument(members)
    paths = [] if checkpoints is None else list_argument(checkpoints)
    if paths and len(paths) != len(names):
        raise InputError(f"There are {len(names)} members and {len(paths)} checkpoints; give one for each.")
    folder = Path(output)
    definition = json.dumps({"network_def": committee_definition(MEMBERS, names)}, indent=4)
    write_atomic(folder / "committee.json", (definition + "\n").encode())
    if paths:
        assemble_committee(paths, folder / "model.pt")
    print(folder)
