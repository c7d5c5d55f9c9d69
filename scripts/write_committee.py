"""Write the network_def of a committee from the member networks of the classifier bundle.

Example:
    python scripts/write_committee.py --members densenet121,resnet50 --output output/committee.json
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from doll_monai.data.datalist import write_atomic
from doll_monai.utils.errors import run_program
from doll_tools.pipeline.plan import committee_definition

MEMBERS = Path(__file__).resolve().parent.parent / "bundles" / "chexpert_cxr_classification" / "configs" / "members"


def write_committee(members: str | Sequence[str], output: str) -> None:
    """Write a configuration file that overrides network_def with a committee.

    Args:
        members: names of configs/members/NAME.json of the classifier bundle, with commas between.
        output: file to write; give it after the bundle's own in --config_file.
    """
    names = members.split(",") if isinstance(members, str) else list(members)
    content = {"network_def": committee_definition(MEMBERS, names)}
    write_atomic(output, (json.dumps(content, indent=4) + "\n").encode())
    print(output)


if __name__ == "__main__":
    run_program(write_committee)
