"""What is to be evaluated: mistakes are found here, before any network runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from doll_monai.data.datalist import SECTIONS, load_sections
from doll_monai.data.ground_truth import GroundTruth
from doll_monai.utils.errors import InputError
from doll_monai.utils.json_object import read_json_object
from doll_tools.pipeline.stages import Stage, bundle_run

BUNDLE = "doll_cxr_label_generation"
CONFIGS = ("inference", "evaluate", "gate")


@dataclass
class EvaluationRequest:
    """The arguments of an evaluation, checked.

    Attributes:
        bundles: folder of the bundles.
        chexpert, datalist, checkpoint, truth, output: paths.
        committee: configuration file with ``network_def``; None for the bundle's own.
        sections: to evaluate; None for all of the datalist.
        values: other values of the bundle.

    Raises:
        InputError: when a file is missing, the bundle has no such value, or no image has a place known.
    """

    bundles: Path
    chexpert: Path
    datalist: Path
    checkpoint: Path
    truth: Path
    output: Path
    committee: Path | None = None
    sections: Sequence[str] | None = None
    values: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for path in (self.chexpert, self.datalist, self.checkpoint, self.truth, *self.configs):
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
            raise InputError(f"The network_def of {self.configs[-1]} has no members; write it by write_committee.py.")
        layers = self.values.get("gradcam_layers")
        if isinstance(layers, list) and len(layers) != len(self.members):
            raise InputError(f"gradcam_layers names {len(layers)} layers, but the committee has {len(self.members)}.")
        self.places = GroundTruth(self.truth, self.chexpert)
        self.records = self._records_with_ground_truth()

    @property
    def configs(self) -> list[Path]:
        """The bundle's configuration files, the committee's last."""
        own = [self.bundles / BUNDLE / "configs" / f"{name}.json" for name in CONFIGS]
        return [*own, self.committee] if self.committee else own

    @property
    def sources(self) -> list[str]:
        """Names of all sources that are scored."""
        members = [f"member_{number}" for number in range(len(self.members))]
        return ["consensus", *members, "gradcam", "randomized", "chance"]

    def stage(self) -> Stage:
        """The bundle's run that scores and compares the maps."""
        folder = self.output / "scores"
        values: dict[str, Any] = {
            "dataset_dir": self.chexpert,
            "datalist": self.datalist,
            "checkpoint": self.checkpoint,
        }
        values |= {"truth": self.truth, "sections": list(self.records), "output_dir": folder}
        layers = {} if "gradcam_layers" in self.values else {"gradcam_layers": list(map(gradcam_layer, self.members))}
        command = bundle_run(self.configs, self.bundles / BUNDLE, **values, **layers, **self.values)
        tables = [folder / f"{name}.csv" for name in ("localization", "chance", "agreement")]
        inputs = [*self.configs, self.datalist, self.checkpoint, self.truth]
        return Stage("score_maps", command, inputs, folder, tables, bundle=self.bundles / BUNDLE)

    def _records_with_ground_truth(self) -> dict[str, list[dict]]:
        """Section to its images with a known place; a section without one is left out."""
        names = list(self.sections) if self.sections else list(read_json_object(self.datalist))
        given = load_sections(
            self.datalist, [name for name in names if self.sections or name in SECTIONS], self.chexpert
        )
        known = {
            section: [record for record in given[section] if record["image"] in self.places]
            for section in SECTIONS
            if section in given
        }
        found = {section: records for section, records in known.items() if records}
        if not found:
            raise InputError(f"{self.truth} knows no place in any image of the sections {', '.join(given)}.")
        return found


def gradcam_layer(definition: Mapping[str, Any]) -> str:
    """The last convolutional layer of a member of the classifier bundle's kinds.

    Raises:
        InputError: when it is of another kind.
    """
    kind = str(definition.get("_target_", "")).rpartition(".")[2].lower()
    if kind.startswith("resnet"):
        return "layer4"
    if kind.startswith("densenet"):
        return f"features.denseblock{len(definition.get('block_config', range(4)))}"
    if kind.startswith("efficientnet"):
        return "_conv_head"
    raise InputError(f"The layer that Grad-CAM takes of '{kind}' is not known; give --gradcam_layers, one a member.")
