"""Maps of a run's members of a few images, computed anew as the labels were."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ignite.engine import Engine, Events
from monai.bundle import ConfigParser

from doll_monai.handlers.engine import output_of
from doll_monai.networks.weights import load_weights
from doll_monai.utils.errors import InputError
from doll_monai.utils.json_object import read_json_object
from doll_tools.report.run_folder import RunFolder

CONFIGURATION = "configs/executed/generate_labels.json"
"""The merged configuration with which the run's labels were made."""


def member_maps(run: RunFolder, images: Sequence[str]) -> dict[str, np.ndarray]:
    """Normalized evidence of each member, and last their consensus.

    Args:
        run: the run.
        images: images of its datalist, relative to its folder of images.

    Returns:
        image to (K + 1, 14, H, W) float32 >= 0; zero where an observation is not positive.

    Raises:
        InputError: when the run has no merged configuration of its labels, or an image is none of its datalist.
    """
    config: dict[str, Any] = read_json_object(run.root / CONFIGURATION, "run the pipeline to its end")
    labels = {
        record["image"]: record["label"]
        for section in run.datalist("chexpert/dataset.json").values()
        if isinstance(section, list)
        for record in section
    }
    unknown = [image for image in images if image not in labels]
    if unknown:
        raise InputError(f"The image {unknown[0]} is none of {run.root / 'chexpert' / 'dataset.json'}.")
    parser = ConfigParser(config)
    parser["dataset"] = {
        "_target_": "Dataset",
        "data": [{"image": str(run.chexpert / image), "label": labels[image]} for image in images],
        "transform": "@preprocessing",
    }
    parser["num_workers"] = 0
    parser["ig_compile"] = False
    parser["handlers"] = ["@explainer"]
    consensus = {
        "_target_": "MeanEnsembled",
        "keys": "$consensus_keys('attribution', @network_def)",
        "output_key": "consensus",
    }
    parser["postprocessing"] = {"_target_": "Compose", "transforms": ["@attribution_transforms", consensus]}
    evaluator = parser.get_parsed_content("evaluator")
    load_weights(parser.get_parsed_content("network"), parser.get_parsed_content("checkpoint"))
    keys = [*parser.get_parsed_content("member_attributions"), "consensus"]
    found: list[np.ndarray] = []

    def keep(engine: Engine) -> None:
        for item in output_of(engine):
            found.append(np.stack([np.asarray(item[key].cpu(), dtype=np.float32) for key in keys]))

    evaluator.add_event_handler(Events.ITERATION_COMPLETED, keep)
    evaluator.run()
    return {image: maps.transpose(0, 1, 3, 2) for image, maps in zip(images, found, strict=True)}
