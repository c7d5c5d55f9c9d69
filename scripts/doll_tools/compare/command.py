"""``doll compare``: what do a few annotated images bring, from which initialization, with which tuning?"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from doll_monai.utils.errors import switch
from doll_tools.arguments import list_argument, path_argument
from doll_tools.compare.program import Comparison
from doll_tools.compare.request import ComparisonRequest, read_cell_values


def compare(
    task_data: str,
    output: str,
    shots: int | Sequence[int] = (1, 5, 10, 25),
    seeds: int = 5,
    initializations: str | Sequence[str] = ("scratch", "classifier", "doll_backbone", "doll"),
    tunings: str | Sequence[str] = ("full",),
    bundle: str = "lung_cxr_segmentation",
    task: str | None = None,
    classes: str | Sequence[str] | None = None,
    pretrained: str | None = None,
    classifier: str | None = None,
    member: int | None = None,
    network: str | None = None,
    image_size: int | Sequence[int] | None = None,
    iterations: int = 200,
    batch_size: int = 8,
    test_data: str | None = None,
    test_classes: str | Sequence[str] | None = None,
    cell_values: str | None = None,
    keep_weights: bool | str = False,
    tracking_uri: str | None = None,
    quiet: bool = False,
    **values: Any,
) -> None:
    """Train every initialization with every tuning on a few images, score each image of the others, with intervals.

    Images are split by patient by a hash; test images are never learnt from or chosen on. Each cell is two runs of the
    task's bundle. After an interruption the same command continues; a later one may add shots, initializations and
    tunings to the same output. Look first at comparison.md there.

    Args:
        task_data: folder with index.csv: images (image), masks, and patients (patient) where they are known.
        output: folder for everything that is made.
        shots: numbers of annotated images, with commas between.
        seeds: number of seeds, from 0; a seed draws the shots, the order, the augmentation and the fresh weights.
        initializations: scratch, classifier (its backbone), doll_backbone, doll (all but the head), and NAME=FILE:
            another checkpoint, of a ResNet in torchvision's names (backbone) or of a segmentation network (all but the
            head; the backbone where NAME ends in _backbone).
        tunings: of the bundle's network, such as full, adapter, head.
        bundle: the task's bundle.
        task: name of the task in the tables; the name of task_data by default.
        classes: name=column+column,name=column; by default the bundle's classes, each the column of its name.
        pretrained: the segmentation network that was pre-trained on DoLLs.
        classifier: the classifier's model.pt, or the committee's with --member.
        member: number of the committee's member.
        network: JSON file with network_def or parts of it, such as {"network_def::network::backbone": {...}}.
        image_size: one number or two; the bundle's own by default.
        iterations: of every training; a multiple of 20, or fewer.
        batch_size: of every training; images are repeated where there are fewer.
        test_data: folder like task_data with images from elsewhere, which are scored as well.
        test_classes: its classes, as in classes; by default those of the task that it has columns of.
        cell_values: JSON file, INITIALIZATION/TUNING (* is anything) to values of those cells alone, such as
            {"*/lora": {"learning_rate": 0.003}}.
        keep_weights: true: model.pt of finished cells stays.
        tracking_uri: of MLflow; SQLite in output by default.
        quiet: show no progress.
        values: any value of the bundle for all cells, such as learning_rate.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    keep = switch(keep_weights, "keep_weights")
    request = ComparisonRequest(
        task_data=Path(str(task_data)).resolve(),
        output=Path(str(output)).resolve(),
        shots=[int(count) if str(count).isdecimal() else count for count in list_argument(shots)],
        seeds=seeds,
        initializations=list_argument(initializations),
        tunings=list_argument(tunings),
        bundle=bundle,
        task=None if task is None else str(task),
        classes=classes,
        pretrained=path_argument(pretrained),
        classifier=path_argument(classifier),
        member=member,
        network=path_argument(network),
        image_size=[image_size] * 2 if isinstance(image_size, int) else image_size,
        iterations=iterations,
        batch_size=batch_size,
        test_data=path_argument(test_data),
        test_classes=test_classes,
        values={name: list(value) if isinstance(value, tuple) else value for name, value in values.items()},
        cell_values=read_cell_values(path_argument(cell_values)),
    )
    print(Comparison(request, tracking_uri, keep, quiet).run())
