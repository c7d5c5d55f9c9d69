"""One network of several trained classifiers: its checkpoint, and the configuration that declares it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from doll_monai.networks.weights import read_weights, save_weights
from doll_monai.utils.atomic import write_atomic
from doll_monai.utils.errors import InputError
from doll_monai.utils.json_object import read_json_object
from doll_tools.arguments import bundles_folder, list_argument


def write_committee(members: str | Sequence[str], output: str, checkpoints: str | Sequence[str] | None = None) -> None:
    """Write committee.json, an override of network_def, and with checkpoints also the committee's own model.pt.

    Args:
        members: names of configs/members/NAME.json of the classifier bundle, with commas between.
        output: folder to write into; give its committee.json after the bundle's own file in --config_file.
        checkpoints: the members' model.pt, in the same order, with commas between.
    """
    names, folder = list_argument(members), Path(output)
    definition = json.dumps({"network_def": committee_definition(names)}, indent=4) + "\n"
    if checkpoints is not None:
        paths = list_argument(checkpoints)
        if len(paths) != len(names):
            raise InputError(f"There are {len(names)} members and {len(paths)} checkpoints; give one for each.")
        weights = {}
        for number, checkpoint in enumerate(paths):
            weights.update({f"members.{number}.{name}": value for name, value in read_weights(checkpoint).items()})
        save_weights(weights, folder / "model.pt")
    write_atomic(folder / "committee.json", definition.encode())
    print(folder)


def committee_definition(members: Sequence[str]) -> dict[str, Any]:
    """The ``network_def`` of a committee of members of the classifier bundle; ``InputError`` for an unknown one."""
    folder = bundles_folder() / "chexpert_cxr_classification" / "configs" / "members"
    known = {path.stem: path for path in sorted(folder.glob("*.json"))}
    unknown = [name for name in members if name not in known]
    if unknown:
        raise InputError(f"There is no member '{unknown[0]}'; there are: {', '.join(known)}.")
    definitions = [read_json_object(known[name])["network_def"] for name in members]
    return {"_target_": "doll_monai.networks.Committee", "members": definitions}
