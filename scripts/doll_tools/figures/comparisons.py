"""The comparisons of starts that figures are drawn from: one folder a task, made where there are none."""

from __future__ import annotations

from pathlib import Path

from doll_monai.networks.weights import file_hash
from doll_monai.utils.errors import InputError
from doll_monai.utils.json_object import read_json_object
from doll_tools.compare.cells import Cell, grid
from doll_tools.compare.measured import SETTINGS
from doll_tools.compare.results import CELLS, RECORD
from doll_tools.compare.starts import KNOWN
from doll_tools.figures.commands import run_printed
from doll_tools.figures.infection_images import MARKER, infection_images
from doll_tools.figures.runs import backbone_member, finished_run
from doll_tools.report.run_folder import RunFolder

TASKS = {"lung": "lung_cxr_segmentation", "jsrt": "jsrt_cxr_segmentation", "covid": "covid_cxr_segmentation"}
"""The three tasks of the paper: folder to bundle."""
OWN = "output/figures/comparisons"
"""Where those of a run are made."""
SHOTS, SEEDS, ITERATIONS, BATCH = 5, 2, 100, 5
FULL, ADAPTER = "full", "adapter"
RATES = "bundles/doll_cxr_segmentation/docs/few_shot_cells.json"
"""Learning rates of each tuning with a few images and 100 iterations, chosen on valid images."""


def comparisons_for(run: str | Path, given: Path | None, own: Path, root: Path) -> list[Path]:
    """Folders of comparisons, one a task.

    Args:
        run: folder of the run whose networks are compared where nothing is given.
        given: folder with one comparison a task; they are taken as they are.
        own: folder for those of the run; what is not finished there is trained.
        root: folder that has ``scripts`` and ``bundles``.

    Raises:
        InputError: when there is no comparison in the given folder, no finished run, or the folder has the comparisons
            of other networks; when a comparison fails.
    """
    if given is not None:
        return found_in(given)
    folder = finished_run(run)
    for task in TASKS:
        _check_owner(own / task, folder)
    for task, bundle in TASKS.items():
        for command, cells in _commands(folder, own, task, bundle, root):
            if not all((own / task / CELLS / cell.name / RECORD).is_file() for cell in cells):
                run_printed(command)
    return found_in(own)


def found_in(folder: Path) -> list[Path]:
    """The comparisons in a folder: the paper's tasks in their order, then others by name.

    Raises:
        InputError: when there is none.
    """
    names = sorted(path.parent.name for path in folder.glob(f"*/{SETTINGS}"))
    if not names:
        raise InputError(f"{folder} has no comparison; give a folder that has one of compare_initializations a task.")
    order = [name for name in TASKS if name in names]
    return [folder / name for name in [*order, *(name for name in names if name not in order)]]


def _check_owner(comparison: Path, run: RunFolder) -> None:
    """Refuse the comparison of another run's networks."""
    start = comparison / "starts" / "doll.json"
    if start.is_file() and read_json_object(start)["sha256"] != file_hash(run.root / "pretraining" / "model.pt"):
        raise InputError(
            f"{comparison} compares other networks than those of {run.root}; delete it, or give --comparisons a folder."
        )


def _commands(run: RunFolder, own: Path, task: str, bundle: str, root: Path) -> list[tuple[list[str], list[Cell]]]:
    """All starts with everything trained, then adapters on the pre-trained network; each with its cells."""
    members: list[str] = run.pipeline["members"]
    width, height = run.pipeline["image_size"]
    network = run.root / "configs" / "task_network.json"
    data = run.task_data
    if task == "covid" and (data / MARKER).is_file():
        data = infection_images(own.parent / "infection_images")
    values = {
        "task_data": data,
        "bundle": bundle,
        "task": task,
        "pretrained": run.root / "pretraining" / "model.pt",
        "classifier": run.root / "members" / members[backbone_member(run)] / "model.pt",
        "network": network,
        "image_size": f"[{width},{height}]",
        "shots": SHOTS,
        "iterations": ITERATIONS,
        "batch_size": BATCH,
        "cell_values": root / RATES,
        "keep_weights": True,
        "output": own / task,
    }
    commands = []
    for inits, tuning, seeds in ((KNOWN, FULL, SEEDS), (("doll",), ADAPTER, 1)):
        own_values = {**values, "inits": ",".join(inits), "tunings": tuning, "seeds": seeds}
        arguments = [text for name, value in own_values.items() for text in (f"--{name}", str(value))]
        command = ["python", str(root / "scripts" / "compare_initializations.py"), *arguments]
        commands.append((command, grid(inits, [tuning], [SHOTS], seeds)))
    return commands
