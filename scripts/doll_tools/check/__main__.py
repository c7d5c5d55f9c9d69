"""Check a bundle's configurations, and values for them, without running anything.

Example:
    python -m doll_tools.check bundles/lung_cxr_segmentation --image_size [192,192] --network_def::tuning lora
"""

from __future__ import annotations

import sys
from pathlib import Path

from doll_monai.utils.errors import InputError
from doll_tools.check.command import check_files, files_of, split_arguments

WORKFLOWS = (
    ("train",),
    ("train", "evaluate"),
    ("train", "multi_gpu_train"),
    ("inference",),
    ("inference", "evaluate"),
    ("inference", "evaluate", "quality_check"),
)
"""Configurations that are run together, where a bundle has them."""


def check_bundle(folder: Path, arguments: list[str]) -> list[str]:
    """Check a bundle as ``monai.bundle run`` would be given the same arguments.

    Args:
        folder: the bundle.
        arguments: as ``--name value``; ``--config_file`` restricts the check to one workflow.

    Returns:
        what was found right, as ``train.json and evaluate.json``.

    Raises:
        InputError: when the folder is no bundle, or for the first mistake; a value that only some of the workflows
            have is right.
    """
    own, given = split_arguments(arguments)
    if "config_file" in own:
        check_files(files_of(own["config_file"]), given, own.get("tracking"))
        return [str(own["config_file"])]
    configs = folder / "configs"
    if not (configs / "metadata.json").is_file():
        raise InputError(f"{folder} is no bundle: it has no configs/metadata.json.")
    right: list[str] = []
    wrong: InputError | None = None
    for names in _workflows(configs):
        files = [str(configs / f"{name}.json") for name in names]
        check_files(files, {})
        try:
            check_files(files, given, own.get("tracking"))
            right.append(" and ".join(f"{name}.json" for name in names))
        except InputError as error:
            wrong = wrong or error
    if wrong is not None and (not right or not str(wrong).startswith("There is no value")):
        raise wrong
    return right


def _workflows(configs: Path) -> list[tuple[str, ...]]:
    there = [names for names in WORKFLOWS if all((configs / f"{name}.json").is_file() for name in names)]
    return [names for names in there if names != ("inference", "evaluate") or ("train",) not in there]


def main() -> None:
    """Read the command line, check, say what is right."""
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        raise InputError("Give a bundle's folder: python -m doll_tools.check bundles/NAME [--name value ...].")
    for workflow in check_bundle(Path(sys.argv[1]), sys.argv[2:]):
        print(f"{workflow}: right")


if __name__ == "__main__":
    main()
