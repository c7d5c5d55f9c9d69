"""What is to be checked: mistakes are found here, before any network runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from doll_monai.data.datalist import SECTIONS, load_sections
from doll_monai.data.ground_truth import GroundTruth
from doll_monai.handlers.localization import CHANCE, LOCATION_PRIOR
from doll_monai.utils.errors import InputError
from doll_monai.utils.json_object import read_json_object
from doll_tools.folders import bundles_folder
from doll_tools.pipeline.stages import Stage, bundle_run

BUNDLE = "doll_cxr_label_generation"
QUALITY_CHECK = Path(__file__).with_name("quality_check.json")
"""What the check adds to the bundle's ``inference.json`` and ``evaluate.json``."""
LAYERS = {"resnet": "layer4", "densenet": "features.denseblock{blocks}", "efficientnet": "_conv_head"}
"""The last convolutional layer of the classifier bundle's kinds of networks, which Grad-CAM takes."""


class EvaluationRequest:
    """The arguments of a label quality check, checked; ``doll evaluate --help`` explains them.

    Attributes:
        paths: ``chexpert``, ``datalist``, ``checkpoint``, ``ground_truth`` and, if given, ``committee``.
        regions: the ground truth.
        records: section to its images with ground truth; a section without one is left out.
        sources: names of all sources that are scored.

    Raises:
        InputError: when a file is missing, the bundle has no such value, or no image has ground truth.
    """

    def __init__(
        self,
        chexpert: str,
        checkpoint: str,
        output: str,
        ground_truth: str | None = None,
        datalist: str | None = None,
        committee: str | None = None,
        sections: str | Sequence[str] | None = None,
        values: Mapping[str, Any] | None = None,
    ) -> None:
        folder = Path(str(chexpert)).resolve()
        regions = [folder / name for name in ("truth.csv", "boxes.csv")] if ground_truth is None else [ground_truth]
        given_paths = {
            "chexpert": folder,
            "datalist": datalist or folder / "dataset.json",
            "checkpoint": checkpoint,
            "ground_truth": next((path for path in regions if Path(str(path)).is_file()), regions[0]),
        }
        given_paths |= {"committee": committee} if committee else {}
        self.paths = {name: Path(str(path)).resolve() for name, path in given_paths.items()}
        self.output = Path(str(output)).resolve()
        self.values = dict(values or {})
        self.bundle = bundles_folder() / BUNDLE
        own = [self.bundle / "configs" / f"{name}.json" for name in ("inference", "evaluate")]
        self.configs = [*own, QUALITY_CHECK, *([self.paths["committee"]] if committee else [])]
        for path in (*self.paths.values(), *self.configs):
            if not path.exists():
                raise InputError(f"{path} does not exist; give the right path.")
        merged: dict[str, Any] = {}
        for path in self.configs:
            merged |= read_json_object(path)
        for name in self.values:
            if name.partition("::")[0] not in merged:
                raise InputError(f"The bundle {BUNDLE} has no value '{name}'; see the knobs in its README.")
        members = merged["network_def"].get("members") or []
        if not members:
            raise InputError(f"The network_def of {self.configs[-1]} has no members; see doll package committee.")
        if "gradcam_layers" not in self.values:
            self.values["gradcam_layers"] = list(map(gradcam_layer, members))
        layers = self.values["gradcam_layers"]
        if isinstance(layers, list) and len(layers) != len(members):
            raise InputError(f"gradcam_layers names {len(layers)} layers, but the committee has {len(members)}.")
        each = [f"member_{number}" for number in range(len(members))]
        self.sources = ["consensus", *each, "gradcam", "randomized", CHANCE, LOCATION_PRIOR]
        self.regions = GroundTruth(self.paths["ground_truth"], folder)
        wanted = sections.split(",") if isinstance(sections, str) else sections
        given = wanted or [name for name in read_json_object(self.paths["datalist"]) if name in SECTIONS]
        self.records = self._records(list(given))

    def _records(self, sections: list[str]) -> dict[str, list[dict]]:
        given = load_sections(self.paths["datalist"], sections, self.paths["chexpert"])
        parts = {name: [record for record in given[name] if record["image"] in self.regions] for name in given}
        if not any(parts.values()):
            raise InputError(f"{self.paths['ground_truth']} has no image of the sections {', '.join(given)}.")
        return {name: parts[name] for name in SECTIONS if parts.get(name)}

    def stage(self) -> Stage:
        """The bundle's run that scores and compares the maps."""
        folder = self.output / "scores"
        inputs = [self.paths[name] for name in ("datalist", "checkpoint", "ground_truth")]
        own = {"dataset_dir": self.paths["chexpert"], "output_dir": folder, "sections": list(self.records)}
        own |= dict(zip(("datalist", "checkpoint", "ground_truth"), inputs, strict=True))
        command = bundle_run(self.configs, self.bundle, **own, **self.values)
        tables = [folder / "localization.csv", folder / "agreement.csv"]
        return Stage("score_maps", command, [*self.configs, *inputs], folder, tables, bundle=self.bundle)


def gradcam_layer(definition: Mapping[str, Any]) -> str:
    """The last convolutional layer of a member; ``InputError`` when it is not of the classifier bundle's kinds."""
    kind = str(definition.get("_target_", "")).rpartition(".")[2].lower()
    layer = next((layer for start, layer in LAYERS.items() if kind.startswith(start)), None)
    if layer is None:
        raise InputError(
            f"The layer that Grad-CAM takes of '{kind}' is not known; give --gradcam_layers, one a member."
        )
    return layer.format(blocks=len(definition.get("block_config", range(4))))
