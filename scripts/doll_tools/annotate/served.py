"""Which bundles are served, with which networks and weights."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from doll_monai.networks.weights import file_hash
from doll_monai.utils.atomic import write_atomic
from doll_monai.utils.errors import InputError

TASKS = ("lung_cxr_segmentation", "jsrt_cxr_segmentation", "covid_cxr_segmentation")
"""Bundles that people annotate for, and that learn from it."""
FINDINGS_BUNDLE = "doll_cxr_segmentation"
CLASSIFIER_BUNDLE = "chexpert_cxr_classification"
FILE = "served.json"


@dataclass(frozen=True)
class ServedBundle:
    """One bundle as it is served.

    Args:
        root: the bundle's folder.
        changes: configuration files that change its own, such as a pipeline's ``task_network.json``.
        image_size: width and height of what the network gets; the bundle's own when None.
        checkpoint: the whole network's weights before anything is trained here, or None.
        pretrained: the pre-trained network behind adapters, or None.
        adapter: adapters and head for ``pretrained`` before anything is trained here, or None.
    """

    root: str
    changes: tuple[str, ...] = ()
    image_size: tuple[int, int] | None = None
    checkpoint: str | None = None
    pretrained: str | None = None
    adapter: str | None = None

    @property
    def name(self) -> str:
        """The bundle's name, which is the model's name in MONAI Label."""
        return Path(self.root).name

    @property
    def is_task(self) -> bool:
        """Whether people annotate for it."""
        return self.name in TASKS

    @property
    def fingerprint(self) -> str:
        """Beginning of the hash of the pre-trained network: adapters for another one stay apart."""
        return "no_pretrained" if self.pretrained is None else file_hash(self.pretrained)[:12]

    def parser(self) -> ConfigParser:
        """The configuration of its inference."""
        parser = ConfigParser()
        parser.read_config([f"{self.root}/configs/inference.json", *self.changes])
        parser.read_meta(f"{self.root}/configs/metadata.json")
        parser["bundle_root"] = self.root
        if self.image_size is not None:
            parser["image_size"] = list(self.image_size)
        return parser

    @property
    def classes(self) -> list[str]:
        """Names of the network's channels."""
        outputs = ConfigParser.load_config_file(f"{self.root}/configs/metadata.json")["network_data_format"]["outputs"]
        return list(outputs["pred"]["channel_def"].values())


def find_bundles(bundles: Path, run: Path | None, image_size: int | None = None) -> list[ServedBundle]:
    """What can be served.

    Args:
        bundles: folder of the bundles; weights in their ``models/`` are taken.
        run: folder that ``doll run`` wrote, such as ``output/demo``; its networks and weights go before
            the bundles' own.
        image_size: side of what the networks get; None takes the pipeline's, or the bundles'.

    Raises:
        InputError: when a folder is missing, or nothing in it can be served.
    """
    if not (bundles / CLASSIFIER_BUNDLE).is_dir():
        raise InputError(f"There are no bundles in {bundles}; give --bundles, the folder of the bundles.")
    if run is not None and not (run / "pretraining" / "model.pt").is_file():
        raise InputError(f"{run} has no pretraining/model.pt; give --run, a folder of a finished pipeline.")
    names = [*TASKS, FINDINGS_BUNDLE, CLASSIFIER_BUNDLE]
    served = [_of_run(bundles / name, run, image_size) if run else _of_bundle(bundles / name) for name in names]
    found = [bundle for bundle in served if bundle.checkpoint or bundle.pretrained]
    if not found:
        raise InputError(f"No bundle in {bundles} has weights; run `make demo` and give --run output/demo.")
    return found


def _of_bundle(root: Path) -> ServedBundle:
    files = {name: root / "models" / f"{name}.pt" for name in ("model", "pretrained")}
    model, pretrained = (str(path.resolve()) if path.is_file() else None for path in files.values())
    return ServedBundle(str(root.resolve()), checkpoint=model, pretrained=pretrained)


def _of_run(root: Path, run: Path, image_size: int | None) -> ServedBundle:
    """A bundle with what a pipeline made for it."""
    run, side = run.resolve(), image_size or _image_size(run)
    common: dict[str, Any] = {"root": str(root.resolve()), "image_size": None if side is None else (side, side)}
    if root.name == CLASSIFIER_BUNDLE:
        common |= {"checkpoint": str(run / "committee" / "model.pt"), "image_size": _pair(_image_size(run))}
        return ServedBundle(**common, changes=(str(run / "configs" / "committee.json"),))
    pretrained = str(run / "pretraining" / "model.pt")
    if root.name == FINDINGS_BUNDLE:
        common |= {"checkpoint": pretrained, "image_size": _pair(_image_size(run))}
        return ServedBundle(**common, changes=(str(run / "configs" / "pretraining_network.json"),))
    adapter = run / root.name.split("_")[0] / "adapter" / "adapter.pt"
    return ServedBundle(
        **common,
        changes=(str(run / "configs" / "task_network.json"),),
        pretrained=pretrained,
        adapter=str(adapter) if adapter.is_file() else None,
    )


def _pair(side: int | None) -> tuple[int, int] | None:
    return None if side is None else (side, side)


def _image_size(run: Path) -> int | None:
    """The side of the images of a pipeline."""
    try:
        return int(json.loads((run / "configs" / "executed" / "pretrain.json").read_text())["image_size"][0])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_served(folder: str | os.PathLike[str], served: Sequence[ServedBundle]) -> None:
    """Note for the app, and for the processes that it starts, what is served."""
    write_atomic(Path(folder) / FILE, json.dumps([asdict(bundle) for bundle in served], indent=2).encode())


def read_served(folder: str | os.PathLike[str]) -> list[ServedBundle]:
    """What ``write_served`` noted."""
    return [
        ServedBundle(
            **{
                **bundle,
                "changes": tuple(bundle["changes"]),
                "image_size": tuple(bundle["image_size"]) if bundle["image_size"] else None,
            }
        )
        for bundle in json.loads((Path(folder) / FILE).read_text())
    ]
