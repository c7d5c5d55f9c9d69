"""When does pre-training pay, and when not? Its gain on the phantom, by quality of the labels and number of films.

Example:
    python scripts/measure_pretraining_gain.py --output output/gain --qualities 1.0,0.5,0.25,none --films 50,200,800

Draws phantom films, whose truth is known to the pixel, and labels them with errors until their mean IoU with the truth
is as wanted (none: labels of other films). Pre-trains doll_cxr_segmentation from scratch on each kind of labels and
number of films, then runs compare_initialisations.py once with all these networks on other phantom films: lungs, heart
and opacities of the lung, from a few annotated films. Drawn films say nothing about clinical ones.

After Ctrl-C or a crash the same command goes on; a later one may add qualities, labels and numbers of films to the same
output. It writes gain.csv, gain.svg, gain.png and gain.md; the comparison is in comparison/.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from doll_monai.utils.errors import run_program
from doll_tools.arguments import list_argument, path_argument

BUNDLES = Path(__file__).resolve().parent.parent / "bundles"


def measure_pretraining_gain(
    output: str,
    qualities: str | float | Sequence[Any] = (1.0, 0.75, 0.5, 0.25, "none"),
    films: int | Sequence[int] = (50, 200, 800),
    labels: str | Sequence[str] = (),
    shots: int | Sequence[int] = 5,
    seeds: int = 3,
    tunings: str | Sequence[str] = ("full",),
    backbone: str = "resnet18",
    network: str | None = None,
    image_size: int = 96,
    film_size: int = 128,
    iterations: int = 100,
    batch_size: int = 8,
    pretraining_iterations: int = 300,
    pretraining_batch_size: int = 16,
    pretraining_values: str | None = None,
    cell_values: str | None = None,
    validation_films: int = 32,
    task_films: int = 200,
    seed: int = 0,
    tracking_uri: str | None = None,
    quiet: bool = False,
) -> None:
    """Pre-train on labels of several qualities and numbers of films; measure what each gains on a few films.

    Args:
        output: folder for everything that is made.
        qualities: mean IoU of the labels with the truth, with commas between; none for labels of other films.
        films: numbers of films to pre-train on.
        labels: NAME=DIR,NAME=DIR: label folders made elsewhere of the films in output/films, as DoLLs of a committee.
        shots: numbers of annotated films.
        seeds: number of seeds of fine-tuning.
        tunings: full, and others such as adapter; gains are against full from scratch.
        backbone: of the PSPNet: resnet18, resnet10_narrow (four times as fast) or another ResNet of the classifiers.
        network: JSON file as in compare_initialisations.py, instead of --backbone.
        image_size: side of what networks see.
        film_size: shorter side of the films that are drawn, at least 64.
        iterations: of each fine-tuning; a multiple of 20, or fewer.
        batch_size: of each fine-tuning.
        pretraining_iterations: of each pre-training, the same for every number of films; a multiple of 20, or fewer.
        pretraining_batch_size: of each pre-training.
        pretraining_values: JSON file with other values of doll_cxr_segmentation, such as {"label_correction": true}.
        cell_values: as in compare_initialisations.py.
        validation_films: on which the best epoch of a pre-training is chosen, by their labels.
        task_films: films that are drawn for the task; used are those with an opacity, two in five of them for testing.
        seed: of films, errors and pre-training.
        tracking_uri: of MLflow; SQLite in output by default.
        quiet: show no progress.
    """
    from doll_tools.pretraining_gain.program import GainMeasurement
    from doll_tools.pretraining_gain.request import GainRequest

    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    request = GainRequest(
        bundles=BUNDLES,
        output=Path(str(output)).resolve(),
        qualities=list_argument(qualities),
        films=list_argument(films),
        labels=list_argument(labels),
        shots=list_argument(shots),
        seeds=seeds,
        tunings=list_argument(tunings),
        backbone=str(backbone),
        network=path_argument(network),
        image_size=image_size,
        film_size=film_size,
        iterations=iterations,
        batch_size=batch_size,
        pretraining_iterations=pretraining_iterations,
        pretraining_batch_size=pretraining_batch_size,
        pretraining_values=path_argument(pretraining_values),
        cell_values=path_argument(cell_values),
        validation_films=validation_films,
        task_films=task_films,
        seed=seed,
    )
    command = shlex.join(["python", "scripts/measure_pretraining_gain.py", *sys.argv[1:]])
    print(GainMeasurement(request, command, tracking_uri, quiet).run())


if __name__ == "__main__":
    run_program(measure_pretraining_gain)
