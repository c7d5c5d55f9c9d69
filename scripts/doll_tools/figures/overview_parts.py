"""What of a run stands in the overview: one image on its way through the stages, and masks of the tasks."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from doll_monai.data.datalist import write_datalist
from doll_monai.findings import FINDINGS, finding_index
from doll_monai.utils.errors import InputError
from doll_monai.utils.json_object import read_json_object
from doll_tools.compare.cells import Cell
from doll_tools.compare.measured import read_task
from doll_tools.figures.commands import run_printed
from doll_tools.figures.drawing import image_picture
from doll_tools.figures.fine_tuning_curves import only_shots
from doll_tools.figures.label_pairs import label_of
from doll_tools.figures.member_maps import member_maps
from doll_tools.figures.runs import backbone_member, note_of
from doll_tools.figures.task_images import ShownImage, mask_of, shown_images
from doll_tools.pipeline.stages import bundle_run
from doll_tools.report.run_folder import RunFolder

STACK = 3
"""Images of a pile."""


@dataclass(frozen=True)
class TaskPart:
    """A task: its classes, its median test image with the mask of adapters, and annotated images with their masks."""

    classes: list[str]
    image: ShownImage
    picture: np.ndarray
    annotated: list[tuple[np.ndarray, np.ndarray]]
    shots: int


@dataclass(frozen=True)
class OverviewParts:
    """Pictures are (H, W, 3) ``uint8``, masks and maps cover their whole image.

    Attributes:
        images: a pile of images, the explained one first.
        targets: its 14 image labels: 1, 0, -1, None.
        observation: that is explained.
        members: name to AUROC on validation images; None where it is not known.
        backbone: the member whose weights the pre-training starts from.
        committee_auroc: on test images; None where it is not known.
        maps: (K + 1, H, W), of the members and the consensus.
        label: (14, H, W) ``uint8``.
        prediction: (14, H, W) bool, of the pre-trained network.
        labeled: number of images with a label.
        tasks: in the order of the figure.
        note: what the images are.
    """

    images: list[np.ndarray]
    targets: list[float | None]
    observation: str
    members: dict[str, float | None]
    backbone: str
    committee_auroc: float | None
    maps: np.ndarray
    label: np.ndarray
    prediction: np.ndarray
    labeled: int
    tasks: list[TaskPart]
    note: str


def explained_images(run: RunFolder, observation: str, section: str = "validation") -> list[str]:
    """Images with a label of the observation, in the order of the hashes of their names: none is picked for its looks.

    Raises:
        InputError: for an unknown observation, or when there is no image.
    """
    try:
        channel = finding_index(observation)
    except KeyError as error:
        raise InputError(f"{error.args[0]}.") from error
    table = run.table("labels/labels.csv", ("image", "observation", "foreground_share"))
    inside = {record["image"] for record in run.datalist("labels/dataset.json").get(section) or []}
    images: list[str] = []
    if table is not None:
        rows = table[(table["observation"] == FINDINGS[channel]) & (table["foreground_share"] > 0)]
        images = [image for image in rows["image"].astype(str) if image in inside]
    if not images:
        raise InputError(f"No {section} image of {run.root} has a label of {FINDINGS[channel]}; give --observation.")
    return sorted(images, key=lambda image: hashlib.sha256(image.encode()).hexdigest())


def overview_parts(
    run: RunFolder, comparisons: Sequence[Path], observation: str, output: Path, root: Path
) -> OverviewParts:
    """Collect everything; three short inference runs and one of Integrated Gradients.

    Args:
        run: a finished run.
        comparisons: one a task, each with a cell ``doll/adapter`` that kept its weights.
        observation: that is explained.
        output: folder for predictions.
        root: folder that has ``bundles``.

    Raises:
        InputError: when something is missing.
    """
    images = explained_images(run, observation)
    channel = finding_index(observation)
    records = [record for section in ("training", "validation") for record in _labeled(run, section)]
    return OverviewParts(
        images=[image_picture(run.chexpert / image) for image in images[:STACK]],
        targets=_targets(run, images[0]),
        observation=FINDINGS[channel],
        members={name: _validation_auroc(run, name) for name in run.pipeline["members"]},
        backbone=run.pipeline["members"][backbone_member(run)],
        committee_auroc=run.metrics("classifier/metrics.csv").get("auroc"),
        maps=member_maps(run, images[:1])[images[0]][:, channel],
        label=label_of(run, images[0]),
        prediction=_pretrained_prediction(run, images[0], output / "pretraining", root),
        labeled=len(records),
        tasks=[_task(folder, output) for folder in comparisons],
        note=note_of(run.chexpert),
    )


def _labeled(run: RunFolder, section: str) -> list[dict[str, str]]:
    return list(run.datalist("labels/dataset.json").get(section) or [])


def _targets(run: RunFolder, image: str) -> list[float | None]:
    for records in run.datalist("chexpert/dataset.json").values():
        for record in records if isinstance(records, list) else ():
            if record["image"] == image:
                return list(record["label"])
    raise InputError(f"The image {image} is none of {run.root / 'chexpert' / 'dataset.json'}; run the pipeline again.")


def _validation_auroc(run: RunFolder, member: str) -> float | None:
    """The best mean AUROC of a member's training, that of the epoch that was kept; None without its MLflow run."""
    stage = next((stage for stage in run.stages if stage.get("name") == f"train_{member}"), {})
    uri, run_id = str(run.pipeline.get("mlflow") or ""), stage.get("run_id")
    database = uri.removeprefix("sqlite:///")
    if not run_id or not uri or (database != uri and not Path(database).is_file()):
        return None
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    import mlflow  # takes seconds
    from mlflow.exceptions import MlflowException

    try:
        history = mlflow.MlflowClient(uri).get_metric_history(run_id, "auroc")
    except MlflowException:
        return None
    return max((float(point.value) for point in history), default=None)


def _pretrained_prediction(run: RunFolder, image: str, output: Path, root: Path) -> np.ndarray:
    """What the pre-trained network predicts of an image, by its bundle: (14, H, W) bool."""
    bundle = root / "bundles" / "doll_cxr_segmentation"
    write_datalist(output / "dataset.json", {"test": [{"image": image}]})
    values = {
        "dataset_dir": run.chexpert.resolve(),
        "datalist": (output / "dataset.json").resolve(),
        "checkpoint": (run.root / "pretraining" / "model.pt").resolve(),
        "output_dir": output.resolve(),
        "image_size": run.pipeline["image_size"],
    }
    configs = [bundle / "configs" / "inference.json", (run.root / "configs" / "pretraining_network.json").resolve()]
    run_printed(bundle_run(configs, bundle, **values))
    found = sorted((output / image).parent.glob(f"{Path(image).stem}_*.nii.gz"))
    if not found:
        raise InputError(f"The pre-trained network wrote no regions into {output}; run the command again.")
    return mask_of(found[0])


def _task(folder: Path, output: Path) -> TaskPart:
    task = read_task(folder)
    shots = only_shots(task, "adapter")
    cell = Cell("doll", "adapter", shots, 0)
    image = shown_images(folder, task, [cell], ["median"], output / task.name)[0]
    records = read_json_object(folder / "datalists" / f"shots{shots}_seed0.json")["training"][:STACK]
    annotated = [
        (
            image_picture(image.data / record["image"]),
            mask_of(folder / "task" / record["label"]),
        )
        for record in records
    ]
    return TaskPart(task.classes, image, image_picture(image.data / image.image), annotated, shots)
