"""Put the checkpoints of trained classifiers together into the committee's.

Example:
    python scripts/assemble_committee.py --members a/model.pt,b/model.pt --output committee/model.pt
"""

from __future__ import annotations

from collections.abc import Sequence

from doll_monai.networks.weights import assemble_committee
from doll_monai.utils.errors import run_program


def assemble(members: str | Sequence[str], output: str) -> None:
    """Write the committee's checkpoint.

    Args:
        members: the members' checkpoints, in the order of the committee's network_def, with commas between.
        output: file to write.
    """
    paths = members.split(",") if isinstance(members, str) else list(members)
    assemble_committee(paths, output)
    print(output)


if __name__ == "__main__":
    run_program(assemble)
