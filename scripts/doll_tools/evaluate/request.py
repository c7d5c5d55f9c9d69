"""What is to be checked: mistakes are found here, before any network runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from doll_monai.data.datalist import SECTIONS, load_sections
from doll_monai.data.ground_truth import GroundTruth
from doll_monai.handlers.localization import CHANCE, LOCATION_PRIOR
from doll_monai.utils.errors import InputError
from doll_monai.utils.json_object import read_json_object
from doll_tools.pipeline.stages import Stage, bundle_run

BUNDLE = "doll_cxr_label_generation"
CONFIGS = ("inference", "evaluate", "quality_check")
LAYERS = {"resnet": "layer4", "densenet": "features.denseblock{blocks}", "efficientnet": "_conv_head"}
"""The last convolutional layer of the classifier bundle's kinds of networks, which Grad-CAM takes."""


@dataclass
class EvaluationRequest:
    """The arguments of a label quality check, checked.

    Attributes:
        bundles: folder of the bundles.
        chexpert, datalist, checkpoint, ground_truth, output: paths.
        committee: configuration file with ``network_def``; None for the bundle's own.
        sections: to evaluate; None for all of the datalist.
        values: other values of the bundle.

    Raises:
        InputError: when a file is missing, the bundle has no such value, or no image has ground truth.
    """

    bundles: Path
    chexpert: Path
    datalist: Path
    checkpoint: Path
    ground_truth: Path
    output: Path
    committee: Path | None = None
    sections: Sequence[str] | None = None
    values: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        own = [self.bundles / BUNDLE / "configs" / f"{name}.json" for name in CONFIGS]
        self.configs = [*own, self.committee] if self.committee else own
        for path in (self.chexpert, self.datalist, self.checkpoint, self.ground_truth, *self.configs):
            if not path.exists():
                raise InputError(f"{path} does not exist; give the right path.")
        merged: dict[str, Any] = {}
        for path in self.configs:
            merged |= read_json_object(path)
        for name in self.values:
            if name.partition("::")[0] not in merged:
                raise InputError(f"The bundle {BUNDLE} has no value '{name}'; see the knobs in its README.")
        self.members: list[dict[str, Any]] = merged["network_def"].get("members") or []
        if not self.members:
            raise InputError(f"The network_def of {self.configs[-1]} has no members; see doll package committee.")
        layers = self.values.get("gradcam_layers")
        if isinstance(layers, list) and len(layers) != len(self.members):
            raise InputError(f"gradcam_layers names {len(layers)} layers, but the committee has {len(self.members)}.")
        self.regions = GroundTruth(self.ground_truth, self.chexpert)
        self.records = self._records_with_ground_truth()

    @property
    def sources(self) -> list[str]:
        """Names of all sources that are scored."""
        members = [f"member_{number}" for number in range(len(self.members))]
        return ["consensus", *members, "gradcam", "randomized", CHANCE, LOCATION_PRIOR]

    def stage(self) -> Stage:
        """The bundle's run that scores and compares the maps."""
        folder = self.output / "scores"
        values: dict[str, Any] = {"dataset_dir": self.chexpert, "datalist": self.datalist, "output_dir": folder}
        values |= {"checkpoint": self.checkpoint, "ground_truth": self.ground_truth, "sections": list(self.records)}
        if "gradcam_layers" not in self.values:
            values["gradcam_layers"] = list(map(gradcam_layer, self.members))
        command = bundle_run(self.configs, self.bundles / BUNDLE, **values, **self.values)
        tables = [folder / "localization.csv", folder / "agreement.csv"]
        inputs = [*self.configs, self.datalist, self.checkpoint, self.ground_truth]
        return Stage("score_maps", command, inputs, folder, tables, bundle=self.bundles / BUNDLE)

    def _records_with_ground_truth(self) -> dict[str, list[dict]]:
        """Section to its images with ground truth; a section without one is left out."""
        names = self.sections or [name for name in read_json_object(self.datalist) if name in SECTIONS]
        given = load_sections(self.datalist, list(names), self.chexpert)
        found = {
            section: [record for record in given[section] if record["image"] in self.regions]
            for section in SECTIONS
            if section in given
        }
        if not any(found.values()):
            raise InputError(f"{self.ground_truth} has no image of the sections {', '.join(given)}.")
        return {section: records for section, records in found.items() if records}


def gradcam_layer(definition: Mapping[str, Any]) -> str:
    """The last convolutional layer of a member of the classifier bundle's kinds.

    Raises:
        InputError: when it is of another kind.
    """
    kind = str(definition.get("_target_", "")).rpartition(".")[2].lower()
    layer = next((layer for start, layer in LAYERS.items() if kind.startswith(start)), None)
    if layer is None:
        raise InputError(
            f"The layer that Grad-CAM takes of '{kind}' is not known; give --gradcam_layers, one a member."
        )
    return layer.format(blocks=len(definition.get("block_config", range(4))))
