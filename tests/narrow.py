"""The project's bundles, and their networks made narrow enough for tests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BUNDLES = sorted(path.parent.parent for path in (ROOT / "bundles").glob("*/configs/metadata.json"))
DISTINCT = [path for path in BUNDLES if path.name not in ("jsrt_cxr_segmentation", "covid_cxr_segmentation")]
"""The bundles but for two tasks, which are the lungs' with other classes."""
MEMBERS = ROOT / "bundles" / "chexpert_cxr_classification" / "configs" / "members"
SMALL = {"efficientnetlite": "resnet10_narrow", "pyramidclassifier": "densenet_tiny", "resnet": "resnet10_narrow"}
SMALL |= {"densenet": "densenet_tiny", "efficientnet": "densenet_tiny"}


def read_config(bundle: Path, name: str) -> dict[str, Any]:
    return json.loads((bundle / "configs" / f"{name}.json").read_text())


def has(bundle: Path, *names: str) -> bool:
    return all((bundle / "configs" / f"{name}.json").is_file() for name in names)


def outputs(bundle: Path) -> dict[str, Any]:
    return read_config(bundle, "metadata")["network_data_format"]["outputs"]["pred"]


def walk(value: Any) -> Iterator[Any]:
    yield value
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for child in children:
        yield from walk(child)


def kind_of(definition: Any) -> str | None:
    """Which family of classifiers a definition belongs to."""
    target = str(definition.get("_target_", "")).lower() if isinstance(definition, dict) else ""
    target = target.removeprefix("doll_monai.networks.")
    return next((kind for kind in SMALL if target.startswith(kind)), None)


def smaller(definition: Any) -> Any:
    """The same network with narrow classifiers in it; a narrow PSPNet for a feature pyramid."""
    kind = kind_of(definition)
    if isinstance(definition, dict) and definition.get("_target_") == "doll_monai.networks.FeaturePyramid":
        backbone = smaller({"_target_": "resnet"})
        return {**definition, "_target_": "doll_monai.networks.PSPNet", "backbone": backbone, "decoder_channels": 128}
    if kind is not None:
        return json.loads((MEMBERS / f"{SMALL[kind]}.json").read_text())["network_def"]
    if isinstance(definition, dict):
        return {name: smaller(value) for name, value in definition.items()}
    return [smaller(value) for value in definition] if isinstance(definition, list) else definition
