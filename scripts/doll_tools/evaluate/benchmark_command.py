"""Measure our Integrated Gradients beside captum's: speed, memory, completeness, and the labels that come out.

Example:
    doll benchmark attribution --networks densenet121,resnet50 --chexpert CheXpert-v1.0-small \
        --count 16 --reference_count 8 --size 224 --output output/bench.json
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from doll_monai.utils.atomic import write_atomic
from doll_tools.evaluate.attribution_benchmark import AttributionBenchmark
from doll_tools.folders import bundles_folder

BUNDLES = bundles_folder()


def benchmark(
    networks: str | Sequence[str],
    chexpert: str,
    output: str,
    count: int = 16,
    reference_count: int = 8,
    size: int = 224,
    epochs: int = 2,
    seed: int = 0,
    overrides: dict[str, Any] | None = None,
    quiet: bool = False,
) -> None:
    """Write the figures as JSON; what is finished is kept beside it, in OUTPUT.work, and not computed again.

    Args:
        networks: members of the classifier bundle (configs/members), with commas between.
        chexpert: folder in CheXpert's layout.
        output: file to write.
        count: number of images.
        reference_count: on how many of them the reference (captum, float32, 200 steps) is computed.
        size: side of the images in pixels.
        epochs: how long the networks are trained before, on train.csv.
        seed: of the draw of images and of the training.
        overrides: other values of the label bundle, for example '{ig_steps: 32}'.
        quiet: show no progress.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    names = networks.split(",") if isinstance(networks, str) else list(networks)
    path = Path(output).resolve()
    work = path.with_name(f"{path.name}.work")
    figures = AttributionBenchmark(
        BUNDLES, names, Path(chexpert).resolve(), count, reference_count, size, work, epochs, seed, overrides, quiet
    ).run()
    text = json.dumps(figures, indent=2)
    write_atomic(path, (text + "\n").encode())
    print(text)
