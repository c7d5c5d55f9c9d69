"""The finished run that figures are drawn from."""

from __future__ import annotations

from pathlib import Path

from doll_monai.utils.errors import InputError
from doll_monai.utils.json_object import read_json_object
from doll_tools.report.run_folder import RunFolder

NEEDED = ("pipeline.json", "labels/labels.csv", "pretraining/model.pt")
"""Files of a finished run that figures need."""


def finished_run(folder: str | Path) -> RunFolder:
    """The folder of a finished run.

    Raises:
        InputError: when it is not there or not finished.
    """
    missing = [name for name in NEEDED if not (Path(folder) / name).is_file()]
    if missing:
        raise InputError(
            f"{folder} is no finished run, it has no {missing[0]}; make one by make demo, or give --run another folder."
        )
    return RunFolder(folder)


def backbone_member(run: RunFolder) -> int:
    """Number of the member whose network is the backbone of the pre-trained one.

    Raises:
        InputError: when the run's networks cannot be read, or no member is the backbone.
    """
    configs = run.root / "configs"
    backbone = read_json_object(configs / "pretraining_network.json").get("network_def::backbone")
    members = read_json_object(configs / "committee.json").get("network_def", {}).get("members", [])
    if backbone not in members:
        raise InputError(f"No member in {configs / 'committee.json'} is the backbone that was pre-trained.")
    return int(members.index(backbone))


def note_of(data: Path) -> str:
    """What the pictures are, for a figure's margin.

    Args:
        data: folder of the images.
    """
    images = "synthetic images" if (data / "phantom.json").is_file() else f"the images of {data.name}"
    return f"drawn from our own run on {images}"
